/*
 * What av.c, av-frame.c and av-sound.c share.
 */
#ifndef WEFT_TAGGER_AV_INTERNAL_H
#define WEFT_TAGGER_AV_INTERNAL_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "tagger/worker/av.h"

struct av {
	AVFormatContext *format;
	AVIOContext *io;
	int fd;
	int64_t at; /* where the next bytes come from */
	int64_t size;
	int video, audio;	 /* stream numbers, or -1 */
	AVCodecContext *decoder; /* of the video stream, when it was asked for */
};

/* A decoder for a stream; NULL on failure. For pictures, one that gives at least so many pixels a
 * side. */
AVCodecContext *av_decoder(struct av *av, int stream, uint32_t side);
int av_errno(int err);

#endif
