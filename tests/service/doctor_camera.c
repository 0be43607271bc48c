/* V4L2 devices in files: answers the ioctls for /…/dev/video0 to video2, in the structures of the kernel's own header. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int refused(void) { errno = EINVAL; return -1; }

static int capability(int number, struct v4l2_capability *c) {
    static const char *cards[] = {"HD Webcam C615", "HD Webcam C615", "unicam"};
    memset(c, 0, sizeof *c);
    strcpy((char *)c->driver, number == 2 ? "unicam" : "uvcvideo");
    strcpy((char *)c->card, cards[number]);
    strcpy((char *)c->bus_info, "usb-0000:01:00.0-1.2");
    c->device_caps = V4L2_CAP_STREAMING | (number == 1 ? V4L2_CAP_META_CAPTURE : V4L2_CAP_VIDEO_CAPTURE);
    if (number == 2) c->device_caps |= V4L2_CAP_IO_MC;
    c->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_META_CAPTURE | V4L2_CAP_STREAMING | V4L2_CAP_DEVICE_CAPS;
    return 0;
}

static int format(struct v4l2_fmtdesc *f) {
    if (f->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || f->index > 1) return refused();
    f->pixelformat = f->index ? V4L2_PIX_FMT_YUYV : V4L2_PIX_FMT_MJPEG;
    strcpy((char *)f->description, f->index ? "YUYV 4:2:2" : "Motion-JPEG");
    return 0;
}

static int size(struct v4l2_frmsizeenum *s) {
    if (s->pixel_format == V4L2_PIX_FMT_YUYV) {
        if (s->index) return refused();
        s->type = V4L2_FRMSIZE_TYPE_STEPWISE;
        s->stepwise = (struct v4l2_frmsize_stepwise){32, 640, 2, 24, 480, 2};
        return 0;
    }
    if (s->index > 1) return refused();
    s->type = V4L2_FRMSIZE_TYPE_DISCRETE;
    s->discrete.width = s->index ? 1920 : 640;
    s->discrete.height = s->index ? 1080 : 480;
    return 0;
}

static int interval(struct v4l2_frmivalenum *i) {
    if (i->pixel_format == V4L2_PIX_FMT_YUYV) {
        if (i->index) return refused();
        i->type = V4L2_FRMIVAL_TYPE_CONTINUOUS;
        i->stepwise = (struct v4l2_frmival_stepwise){{1, 15}, {1, 1}, {1, 1}};
        return 0;
    }
    if (i->index > 1) return refused();
    i->type = V4L2_FRMIVAL_TYPE_DISCRETE;
    i->discrete.numerator = 1;
    i->discrete.denominator = i->index ? 15 : 30;
    return 0;
}

int ioctl(int descriptor, unsigned long request, ...) {
    va_list more;
    char link[64], path[4096];
    int number;
    va_start(more, request);
    void *argument = va_arg(more, void *);
    va_end(more);
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    char *name = strstr(path, "/dev/video");
    if (name && sscanf(name, "/dev/video%d", &number) == 1 && number < 3) switch (request) {
        case VIDIOC_QUERYCAP: return capability(number, argument);
        case VIDIOC_ENUM_FMT: return format(argument);
        case VIDIOC_ENUM_FRAMESIZES: return size(argument);
        case VIDIOC_ENUM_FRAMEINTERVALS: return interval(argument);
    }
    int (*real)(int, unsigned long, ...) = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
    return real(descriptor, request, argument);
}
