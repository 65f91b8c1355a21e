/*
 * A web page to words, title, links and facts; for pages of their own and those inside e-books.
 */
#ifndef WEFT_TAGGER_PAGE_H
#define WEFT_TAGGER_PAGE_H

#include "tagger/worker/worker.h"

/* False: there is no element in it. title: its title is that of the file. */
bool page_read(struct work *w, const char *bytes, size_t len, const char *encoding, bool title);

#endif
