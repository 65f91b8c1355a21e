/*
 * Single pictures: of a picture, a cover, or a video at some time; and JPEG.
 */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>

#include "tagger/worker/av-internal.h"

#include "banned.h"

#define PACKETS_MAX  2000 /* until a frame must have come */
#define JPEG_QUALITY 4	  /* 2 is best, 31 is worst */
#define LOWRES_MAX   3

AVCodecContext *av_decoder(struct av *av, int stream, uint32_t side)
{
	const AVCodecParameters *par = av->format->streams[stream]->codecpar;
	const AVCodec *codec = avcodec_find_decoder(par->codec_id);
	AVCodecContext *c = codec != NULL ? avcodec_alloc_context3(codec) : NULL;

	if (c == NULL)
		return NULL;
	if (avcodec_parameters_to_context(c, par) < 0) {
		avcodec_free_context(&c);
		return NULL;
	}
	c->pkt_timebase = av->format->streams[stream]->time_base;
	c->thread_count = 1;
	c->max_pixels = AV_PIXELS_MAX;
	/* a JPEG of 40 megapixels need not be decoded whole to be made small */
	while (side > 0 && c->lowres < codec->max_lowres && c->lowres < LOWRES_MAX &&
	       (uint32_t)par->width >> (c->lowres + 1) >= side &&
	       (uint32_t)par->height >> (c->lowres + 1) >= side)
		c->lowres++;
	if (avcodec_open2(c, codec, NULL) < 0)
		avcodec_free_context(&c);
	return c;
}

/* The next frame of the stream. 0 or FFmpeg's error. */
static int frame_next(struct av *av, AVFrame *frame)
{
	AVPacket *packet = av_packet_alloc();
	int res = AVERROR(ENOMEM);

	for (int n = 0; packet != NULL && n < PACKETS_MAX; n++) {
		res = avcodec_receive_frame(av->decoder, frame);
		if (res != AVERROR(EAGAIN))
			break;
		res = av_read_frame(av->format, packet);
		if (res < 0) {
			/* what the decoder still has */
			avcodec_send_packet(av->decoder, NULL);
			res = avcodec_receive_frame(av->decoder, frame);
			break;
		}
		if (packet->stream_index == av->video)
			avcodec_send_packet(av->decoder, packet);
		av_packet_unref(packet);
		res = AVERROR(EAGAIN);
	}
	av_packet_free(&packet);
	return res;
}

/* A cover comes with the head of the file, not as a packet. */
static int frame_cover(struct av *av, AVFrame *frame)
{
	AVPacket *packet = &av->format->streams[av->video]->attached_pic;
	int res = avcodec_send_packet(av->decoder, packet);

	if (res < 0)
		return res;
	avcodec_send_packet(av->decoder, NULL);
	return avcodec_receive_frame(av->decoder, frame);
}

static void fit(const AVFrame *frame, uint32_t *width, uint32_t *height)
{
	double ratio = (double)*width / frame->width, other = (double)*height / frame->height;

	ratio = other < ratio ? other : ratio;
	if (ratio > 1)
		ratio = 1;
	*width = (uint32_t)(frame->width * ratio + 0.5);
	*height = (uint32_t)(frame->height * ratio + 0.5);
	*width += *width == 0;
	*height += *height == 0;
}

/* To RGB on white, at a size. */
static int frame_scale(const AVFrame *frame, struct picture *out)
{
	struct SwsContext *sws;
	uint8_t *to[4] = {NULL};
	int stride[4] = {(int)out->width * 3};

	/* the scaler writes a little beyond odd widths */
	out->rgb = malloc((size_t)out->width * out->height * 3 + 64);
	if (out->rgb == NULL)
		return -ENOMEM;
	sws = sws_getContext(frame->width, frame->height, frame->format, (int)out->width,
			     (int)out->height, AV_PIX_FMT_RGB24, SWS_AREA, NULL, NULL, NULL);
	to[0] = out->rgb;
	if (sws != NULL && sws_scale(sws, (const uint8_t *const *)frame->data, frame->linesize, 0,
				     frame->height, to, stride) == (int)out->height) {
		sws_freeContext(sws);
		return 0;
	}
	sws_freeContext(sws);
	free(out->rgb);
	out->rgb = NULL;
	return -EBADMSG;
}

static void seek_to(struct av *av, double at_seconds)
{
	const AVStream *s = av->format->streams[av->video];
	int64_t at = (int64_t)(at_seconds / av_q2d(s->time_base));

	if (at_seconds <= 0)
		return;
	if (s->start_time != AV_NOPTS_VALUE)
		at += s->start_time;
	if (av_seek_frame(av->format, av->video, at, AVSEEK_FLAG_BACKWARD) >= 0)
		avcodec_flush_buffers(av->decoder);
}

int av_frame(struct av *av, double at_seconds, uint32_t width, uint32_t height, struct picture *out)
{
	struct av_about about;
	AVFrame *frame;
	int res;

	*out = (struct picture){0};
	av_about(av, &about);
	if (av->video < 0)
		return -ENOTSUP;
	if ((uint64_t)about.width * about.height > AV_PIXELS_MAX)
		return -EFBIG;
	if (av->decoder == NULL)
		av->decoder = av_decoder(av, av->video,
					 about.seconds > 0 ? 0
					 : width > height  ? width
							   : height);
	frame = av->decoder != NULL ? av_frame_alloc() : NULL;
	if (frame == NULL)
		return av->decoder == NULL ? -ENOTSUP : -ENOMEM;
	if (about.has_cover) {
		res = frame_cover(av, frame);
	} else {
		seek_to(av, at_seconds);
		res = frame_next(av, frame);
	}
	if (res >= 0 && frame->width > 0 && frame->height > 0) {
		out->width = width;
		out->height = height;
		fit(frame, &out->width, &out->height);
		res = frame_scale(frame, out);
	} else {
		res = av_errno(res);
	}
	av_frame_free(&frame);
	return res;
}

static AVFrame *jpeg_frame(const struct picture *p)
{
	AVFrame *frame = av_frame_alloc();
	struct SwsContext *sws;
	const uint8_t *from[4] = {p->rgb};
	int stride[4] = {(int)p->width * 3};

	if (frame == NULL)
		return NULL;
	frame->width = (int)p->width;
	frame->height = (int)p->height;
	frame->format = AV_PIX_FMT_YUVJ420P;
	frame->quality = JPEG_QUALITY * FF_QP2LAMBDA;
	sws = sws_getContext(frame->width, frame->height, AV_PIX_FMT_RGB24, frame->width,
			     frame->height, AV_PIX_FMT_YUVJ420P, SWS_BICUBIC, NULL, NULL, NULL);
	if (sws == NULL || av_frame_get_buffer(frame, 0) < 0 ||
	    sws_scale(sws, from, stride, 0, frame->height, frame->data, frame->linesize) !=
		    frame->height)
		av_frame_free(&frame);
	sws_freeContext(sws);
	return frame;
}

static int jpeg_encode(AVCodecContext *c, AVFrame *frame, uint8_t **jpeg, size_t *len)
{
	AVPacket *packet = av_packet_alloc();
	int res = -ENOMEM;

	if (packet == NULL)
		return res;
	if (avcodec_send_frame(c, frame) < 0 || avcodec_receive_packet(c, packet) < 0) {
		res = -EBADMSG;
	} else {
		*jpeg = malloc((size_t)packet->size);
		if (*jpeg != NULL) {
			memcpy(*jpeg, packet->data, (size_t)packet->size);
			*len = (size_t)packet->size;
			res = 0;
		}
	}
	av_packet_free(&packet);
	return res;
}

int av_jpeg(const struct picture *p, uint8_t **jpeg, size_t *len)
{
	const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
	AVCodecContext *c = codec != NULL ? avcodec_alloc_context3(codec) : NULL;
	AVFrame *frame = c != NULL ? jpeg_frame(p) : NULL;
	int res = -ENOMEM;

	if (frame != NULL) {
		c->width = frame->width;
		c->height = frame->height;
		c->pix_fmt = AV_PIX_FMT_YUVJ420P;
		c->time_base = (AVRational){1, 25};
		c->flags |= AV_CODEC_FLAG_QSCALE;
		c->global_quality = JPEG_QUALITY * FF_QP2LAMBDA;
		c->thread_count = 1;
		res = avcodec_open2(c, codec, NULL) < 0 ? -ENOTSUP
							: jpeg_encode(c, frame, jpeg, len);
	}
	av_frame_free(&frame);
	avcodec_free_context(&c);
	return res;
}
