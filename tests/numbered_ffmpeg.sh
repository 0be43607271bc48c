#!/bin/sh
# A camera's program: numbered pictures of a photograph, raw (nv12), by ffmpeg.
#     sh numbered_ffmpeg.sh PICTURE WIDTH HEIGHT FPS
# Beside PICTURE it counts how often it was started: each start has 400 numbers of its own. A number is in sixteen
# squares of 16 pixels at the top left, white for 1.
set -eu
[ -e "$1" ] || { echo "$1 is not there" >&2; exit 1; }
echo >> "$1.starts"
first=$(($(wc -l < "$1.starts") * 400))
number="mod(floor(($first+N)/pow(2,floor(X/16))),2)"
exec ffmpeg -nostdin -loglevel error -loop 1 -framerate "$4" -i "$1" -filter_complex "
    [0]scale=$2:$3,format=gray,split[photo][corner];
    [corner]crop=256:16:0:0,geq=lum='16+219*$number'[squares];
    [photo][squares]overlay=shortest=1,format=nv12,realtime" -f rawvideo -pix_fmt nv12 -
