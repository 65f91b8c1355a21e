/*
 * Opening a file, and what it says of itself.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tagger/worker/av-internal.h"

#include "banned.h"

#define IO_BYTES    (64u << 10)
#define PROBE_BYTES (4 << 20)
#define ANALYZE_US  (3 * 1000000)
#define STREAMS_MAX 64u

int av_errno(int err)
{
	/* FFmpeg's own numbers are beyond errno's */
	return err == AVERROR(ENOMEM) ? -ENOMEM : -EBADMSG;
}

static int io_read(void *opaque, uint8_t *buf, int len)
{
	struct av *av = opaque;
	int64_t n = input_read_at(av->fd, buf, (size_t)len, (uint64_t)av->at);

	if (n < 0)
		return (int)n;
	av->at += n;
	return n > 0 ? (int)n : AVERROR_EOF;
}

static int64_t io_seek(void *opaque, int64_t offset, int whence)
{
	struct av *av = opaque;

	whence &= ~AVSEEK_FORCE;
	if (whence == AVSEEK_SIZE)
		return av->size;
	if (whence == SEEK_CUR)
		offset += av->at;
	else if (whence == SEEK_END)
		offset += av->size;
	else if (whence != SEEK_SET)
		return -EINVAL;
	if (offset < 0)
		return -EINVAL;
	av->at = offset;
	return offset;
}

/* Which streams count. A cover is no video. */
static void streams_choose(struct av *av)
{
	av->video = av_find_best_stream(av->format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
	av->audio = av_find_best_stream(av->format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
	if (av->video < 0)
		av->video = -1;
	if (av->audio < 0)
		av->audio = -1;
}

static int av_open_format(struct av *av)
{
	uint8_t *buf = av_malloc(IO_BYTES);
	int res;

	av->format = avformat_alloc_context();
	if (buf == NULL || av->format == NULL) {
		av_free(buf);
		return AVERROR(ENOMEM);
	}
	av->io = avio_alloc_context(buf, IO_BYTES, 0, av, io_read, NULL, io_seek);
	if (av->io == NULL) {
		av_free(buf);
		return AVERROR(ENOMEM);
	}
	av->format->pb = av->io;
	av->format->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_DISCARD_CORRUPT;
	av->format->probesize = PROBE_BYTES;
	av->format->max_analyze_duration = ANALYZE_US;
	av->format->max_streams = STREAMS_MAX;
	res = avformat_open_input(&av->format, NULL, NULL, NULL);
	return res < 0 ? res : avformat_find_stream_info(av->format, NULL);
}

struct av *av_open(struct input *in, const char **why)
{
	struct av *av = calloc(1, sizeof(*av));
	struct stat st;

	*why = "out of memory";
	if (av == NULL)
		return NULL;
	av_log_set_level(AV_LOG_QUIET);
	av->video = av->audio = -1;
	av->fd = input_fd(in);
	*why = "it cannot be unpacked";
	if (av->fd >= 0 && fstat(av->fd, &st) == 0) {
		av->size = st.st_size;
		*why = "the pictures or sounds in it cannot be read";
		if (av_open_format(av) >= 0) {
			streams_choose(av);
			if (av->video >= 0 || av->audio >= 0)
				return av;
		}
	}
	av_close(av);
	return NULL;
}

void av_close(struct av *av)
{
	if (av == NULL)
		return;
	avcodec_free_context(&av->decoder);
	avformat_close_input(&av->format);
	if (av->io != NULL)
		av_freep(&av->io->buffer);
	avio_context_free(&av->io);
	free(av);
}

void av_about(struct av *av, struct av_about *about)
{
	*about = (struct av_about){.has_audio = av->audio >= 0};
	if (av->video >= 0) {
		const AVStream *s = av->format->streams[av->video];

		about->has_cover = (s->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
		about->has_video = !about->has_cover;
		about->width = s->codecpar->width > 0 ? (uint32_t)s->codecpar->width : 0;
		about->height = s->codecpar->height > 0 ? (uint32_t)s->codecpar->height : 0;
	}
	if (av->format->duration > 0)
		about->seconds = (double)av->format->duration / AV_TIME_BASE;
}

/* ---- facts ------------------------------------------------------------------------------------
 */

static const char *tag_get(const struct av *av, const char *name)
{
	const AVDictionaryEntry *e = av_dict_get(av->format->metadata, name, NULL, 0);

	/* in Ogg they belong to the stream */
	if (e == NULL && av->audio >= 0)
		e = av_dict_get(av->format->streams[av->audio]->metadata, name, NULL, 0);
	return e != NULL && e->value[0] != '\0' ? e->value : NULL;
}

static void date_fact(const struct av *av, struct work *w)
{
	const char *text = tag_get(av, "creation_time");
	struct tm tm = {0};

	if (text == NULL)
		text = tag_get(av, "date");
	if (text == NULL)
		return;
	if (strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) == NULL &&
	    strptime(text, "%Y-%m-%d", &tm) == NULL) {
		tm = (struct tm){.tm_mday = 1};
		if (strptime(text, "%Y", &tm) == NULL)
			return;
	}
	if (tm.tm_year > 0)
		out_fact_number(w->out, EXTRACT_FACT_DATE, (double)timegm(&tm));
}

static void tag_facts(const struct av *av, struct work *w)
{
	static const struct {
		const char *name;
		enum extract_fact_key key;
		enum words_zone zone;
	} table[] = {
		{"title", EXTRACT_FACT_TITLE, ZONE_TITLE},
		{"artist", EXTRACT_FACT_ARTIST, ZONES},
		{"album_artist", EXTRACT_FACT_ARTIST, ZONES},
		{"author", EXTRACT_FACT_AUTHOR, ZONES},
		{"composer", EXTRACT_FACT_AUTHOR, ZONES},
		{"album", EXTRACT_FACT_ALBUM, ZONES},
		{"genre", EXTRACT_FACT_GENRE, ZONES},
		{"comment", EXTRACT_FACT_COUNT, ZONE_BODY},
		{"description", EXTRACT_FACT_COUNT, ZONE_BODY},
		{"synopsis", EXTRACT_FACT_COUNT, ZONE_BODY},
		{"keywords", EXTRACT_FACT_COUNT, ZONE_KEYWORDS},
		{"lyrics", EXTRACT_FACT_COUNT, ZONE_BODY},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *text = tag_get(av, table[i].name);

		if (text == NULL)
			continue;
		if (table[i].key != EXTRACT_FACT_COUNT)
			out_fact_text(w->out, table[i].key, text, strlen(text));
		if (table[i].zone != ZONES)
			words_feed(w->words, text, strlen(text), table[i].zone);
	}
	date_fact(av, w);
}

/* ISO 6709, as phones write it: +48.8577+002.295/ */
static void place_fact(const struct av *av, struct work *w)
{
	const char *text = tag_get(av, "location");
	char *end;
	double latitude, longitude;

	if (text == NULL)
		text = tag_get(av, "com.apple.quicktime.location.ISO6709");
	if (text == NULL || (*text != '+' && *text != '-'))
		return;
	latitude = strtod(text, &end);
	if (*end != '+' && *end != '-')
		return;
	longitude = strtod(end, NULL);
	if (latitude < -90 || latitude > 90 || longitude < -180 || longitude > 180)
		return;
	out_fact_number(w->out, EXTRACT_FACT_LATITUDE, latitude);
	out_fact_number(w->out, EXTRACT_FACT_LONGITUDE, longitude);
}

static void codec_fact(const struct av *av, struct work *w, int stream)
{
	const char *name = avcodec_get_name(av->format->streams[stream]->codecpar->codec_id);

	out_fact_text(w->out, EXTRACT_FACT_CODEC, name, strlen(name));
	out_tag(w->out, name, 0.3f, EXTRACT_SOURCE_KIND);
}

void av_facts(struct av *av, struct work *w)
{
	struct av_about about;
	const AVCodecParameters *sound;

	av_about(av, &about);
	if (about.has_video) {
		codec_fact(av, w, av->video);
		out_fact_number(w->out, EXTRACT_FACT_WIDTH, about.width);
		out_fact_number(w->out, EXTRACT_FACT_HEIGHT, about.height);
	}
	if (about.has_audio) {
		sound = av->format->streams[av->audio]->codecpar;
		codec_fact(av, w, av->audio);
		out_fact_number(w->out, EXTRACT_FACT_SAMPLERATE, sound->sample_rate);
		out_fact_number(w->out, EXTRACT_FACT_CHANNELS, sound->ch_layout.nb_channels);
	}
	if (about.seconds > 0)
		out_fact_number(w->out, EXTRACT_FACT_DURATION, about.seconds);
	if (av->format->bit_rate > 0)
		out_fact_number(w->out, EXTRACT_FACT_BITRATE, (double)av->format->bit_rate);
	tag_facts(av, w);
	place_fact(av, w);
}
