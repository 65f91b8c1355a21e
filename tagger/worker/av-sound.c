/*
 * Sound to what speech recognition takes.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include <libswresample/swresample.h>

#include "tagger/worker/av-internal.h"

#include "banned.h"

#define RATE	    16000
#define CHUNK	    65536 /* more than a frame of any codec gives */
#define PACKETS_MAX 1000000

struct sound {
	AVCodecContext *decoder;
	SwrContext *swr;
	AVFrame *frame;
	AVPacket *packet;
	bool (*give)(void *arg, const int16_t *samples, size_t n);
	void *arg;
	double left; /* samples */
};

static bool sound_convert(struct sound *s)
{
	static int16_t samples[CHUNK];
	uint8_t *out[1] = {(uint8_t *)samples};
	const uint8_t **in = (const uint8_t **)s->frame->extended_data;
	int n = swr_convert(s->swr, out, CHUNK, in, s->frame->nb_samples);

	if (n <= 0)
		return n == 0;
	s->left -= n;
	return s->give(s->arg, samples, (size_t)n) && s->left > 0;
}

/* All frames that the decoder has. False: enough. */
static bool sound_frames(struct sound *s)
{
	while (avcodec_receive_frame(s->decoder, s->frame) >= 0) {
		bool more = sound_convert(s);

		av_frame_unref(s->frame);
		if (!more)
			return false;
	}
	return true;
}

static int sound_open(struct av *av, struct sound *s)
{
	AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;

	s->decoder = av_decoder(av, av->audio, 0);
	if (s->decoder == NULL)
		return -ENOTSUP;
	if (swr_alloc_set_opts2(&s->swr, &mono, AV_SAMPLE_FMT_S16, RATE, &s->decoder->ch_layout,
				s->decoder->sample_fmt, s->decoder->sample_rate, 0, NULL) < 0 ||
	    swr_init(s->swr) < 0)
		return -ENOTSUP;
	s->frame = av_frame_alloc();
	s->packet = av_packet_alloc();
	return s->frame != NULL && s->packet != NULL ? 0 : -ENOMEM;
}

int av_sound(struct av *av, double max_seconds,
	     bool (*give)(void *arg, const int16_t *samples, size_t n), void *arg)
{
	struct sound s = {.give = give, .arg = arg, .left = max_seconds * RATE};
	bool more = true;
	int res = av->audio < 0 ? -ENOTSUP : sound_open(av, &s);

	for (int n = 0; res == 0 && more && n < PACKETS_MAX; n++) {
		if (av_read_frame(av->format, s.packet) < 0)
			break;
		if (s.packet->stream_index == av->audio &&
		    avcodec_send_packet(s.decoder, s.packet) >= 0)
			more = sound_frames(&s);
		av_packet_unref(s.packet);
	}
	av_packet_free(&s.packet);
	av_frame_free(&s.frame);
	swr_free(&s.swr);
	avcodec_free_context(&s.decoder);
	return res;
}
