/*
 * PocketSphinx behind one file. It is slow, about as long as the recording, so that it must be
 * asked for, and only the beginning is listened to.
 */
#include "config.h"

#include "tagger/worker/speech.h"

#ifdef HAVE_POCKETSPHINX

#include <string.h>

#include <pocketsphinx.h>
#include <sphinxbase/err.h>

#include "banned.h"

#define SECONDS_MAX 60.0
#define MODEL	    SPHINX_MODELS "/en-us/"

struct listening {
	ps_decoder_t *ps;
	struct work *w;
};

static bool listen_take(void *arg, const int16_t *samples, size_t n)
{
	struct listening *l = arg;

	return ps_process_raw(l->ps, samples, n, FALSE, FALSE) >= 0;
}

static void listen_words(struct listening *l)
{
	int32 score;
	const char *text = ps_get_hyp(l->ps, &score);

	if (text == NULL || *text == '\0')
		return;
	l->w->source = EXTRACT_SOURCE_SPEECH;
	work_text(l->w, text, strlen(text), ZONE_BODY);
}

static ps_decoder_t *listen_open(void)
{
	cmd_ln_t *config;
	ps_decoder_t *ps;

	err_set_logfp(NULL);
	config = cmd_ln_init(NULL, ps_args(), TRUE, "-hmm", MODEL "en-us", "-lm",
			     MODEL "en-us.lm.bin", "-dict", MODEL "cmudict-en-us.dict", NULL);
	if (config == NULL)
		return NULL;
	ps = ps_init(config);
	cmd_ln_free_r(config);
	return ps;
}

void speech_read(struct work *w, struct av *av)
{
	static ps_decoder_t *ps;
	struct listening l = {.w = w};

	if (ps == NULL)
		ps = listen_open();
	l.ps = ps;
	if (ps == NULL || ps_start_utt(ps) < 0)
		return;
	av_sound(av, SECONDS_MAX, listen_take, &l);
	ps_end_utt(ps);
	listen_words(&l);
}

#else

#include "banned.h"

void speech_read(struct work *w, struct av *av)
{
}

#endif
