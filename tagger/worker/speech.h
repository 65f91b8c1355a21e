/*
 * What is said in a recording, in English.
 */
#ifndef WEFT_TAGGER_SPEECH_H
#define WEFT_TAGGER_SPEECH_H

#include "tagger/worker/av.h"

/* Words go to w. Does nothing where it was built without PocketSphinx, or its data is not
 * installed. */
void speech_read(struct work *w, struct av *av);

#endif
