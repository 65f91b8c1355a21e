/*
 * Pictures, sound and video through FFmpeg's libraries, behind the files av*.c. They decode what a
 * file holds and write JPEG; whatever a file claims, no more pixels are decoded than AV_PIXELS_MAX.
 */
#ifndef WEFT_TAGGER_AV_H
#define WEFT_TAGGER_AV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tagger/worker/worker.h"

#define AV_PIXELS_MAX (80u << 20)

/* Pixels of three bytes, red first, without gaps. */
struct picture {
	uint32_t width, height;
	uint8_t *rgb;
};

struct av;

/* NULL: FFmpeg knows no such file; *why says so. */
struct av *av_open(struct input *in, const char **why);
void av_close(struct av *av);

/* What it is: a picture, or without one sound; facts go to out. */
struct av_about {
	bool has_video; /* moving, or a single picture */
	bool has_audio;
	bool has_cover; /* a picture that belongs to sound */
	uint32_t width, height;
	double seconds; /* 0: not known */
};
void av_about(struct av *av, struct av_about *about);
/* Title, artist, length, codec and so on; words of the title and so on. */
void av_facts(struct av *av, struct work *w);

/*
 * The frame at a time in seconds (the next whole one that can be had fast), scaled to fit width x
 * height, not enlarged. Pictures and covers have one frame. 0 with memory to free(), or -errno.
 */
int av_frame(struct av *av, double at_seconds, uint32_t width, uint32_t height,
	     struct picture *out);
/* JPEG, malloc()ed. 0 or -errno. */
int av_jpeg(const struct picture *p, uint8_t **jpeg, size_t *len);
/*
 * Sound as speech recognition wants it: 16 kHz, one channel, 16 bits, at most max_seconds. give()
 * returns false to end it. 0 or -errno.
 */
int av_sound(struct av *av, double max_seconds,
	     bool (*give)(void *arg, const int16_t *samples, size_t n), void *arg);

#endif
