"""The files of /proc and /sys by which a board is known, as the kernels of such boards write them."""

from pathlib import Path

PI_4_CPU = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

processor\t: 1
Features\t: fp asimd evtstrm crc32 cpuid
"""
PI_5_CPU = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b
"""
ATOM_CPU = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Celeron(R) CPU  J1900  @ 1.99GHz
flags\t\t: fpu vme de pse tsc msr sse sse2 ssse3 cx16 sse4_1 sse4_2 movbe popcnt
"""
HASWELL_CPU = ATOM_CPU.replace("Celeron(R) CPU  J1900  @ 1.99GHz", "Core(TM) i5-4570").replace(
    "popcnt", "popcnt avx avx2"
)

PI_4 = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/cpuinfo": PI_4_CPU,
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48199\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "110000\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
}
PI_5 = {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0", "proc/cpuinfo": PI_5_CPU}
ORIN = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 3.0, GCID: 36191598, BOARD: generic, EABI: aarch64\n",
    "proc/cpuinfo": PI_5_CPU,
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61312\n",
    "sys/class/thermal/thermal_zone0/trip_point_2_type": "passive\n",
    "sys/class/thermal/thermal_zone0/trip_point_2_temp": "99000\n",
}
PC = {
    "sys/class/dmi/id/sys_vendor": "Dell Inc.\n",
    "sys/class/dmi/id/product_name": "OptiPlex 3000\n",
    "proc/cpuinfo": HASWELL_CPU,
    "proc/meminfo": "MemTotal:        3884376 kB\nMemFree:          120000 kB\nMemAvailable:     150000 kB\n",
}
STICK = {
    "sys/bus/usb/devices/1-1/idVendor": "03e7\n",
    "sys/bus/usb/devices/1-1/idProduct": "2485\n",
    "sys/bus/usb/devices/usb1/idVendor": "1d6b\n",
    "sys/bus/usb/devices/usb1/idProduct": "0002\n",
}


def lay_out(root: Path, files: dict[str, str]) -> Path:
    """Write them below a root."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
