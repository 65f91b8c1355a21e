/*
 * A worker: takes one file after another from tagger, finds out what it is, extracts, answers.
 * Which extractors it has depends on the program (see struct worker_class); a file for another
 * class is sent back with what is known so far.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tagger/worker/worker.h"

#include "banned.h"

#define MEMORY_DEFAULT	   (256ull << 20)
#define NICE		   5
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_BE_LOWEST   (2 << 13 | 7) /* best effort, last: ioprio_set(2) */
#define TAG_KIND_WEIGHT	   0.4f

struct worker {
	const struct worker_class *class;
	struct sniff *sniff;
	struct words *words;
	struct out *out;
	uint8_t *head, *unpacked; /* INPUT_HEAD_MAX + 2 each */
	struct words_result result;
};

/* ---- the socket -------------------------------------------------------------------------------
 */

/* 1: a request and its descriptor; 0: the end; -errno. */
static int request_receive(struct work_request *r, int *fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {r, sizeof(*r)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof(control.buf)};
	struct cmsghdr *c;
	ssize_t n;

	do {
		n = recvmsg(WORK_FD, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n == 0 ? 0 : -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (n != sizeof(*r) || r->magic != WORK_MAGIC || c == NULL || c->cmsg_type != SCM_RIGHTS)
		return -EPROTO;
	memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return 1;
}

static int answer_send(uint32_t id, enum work_kind kind, const void *data, size_t len)
{
	const uint8_t *p = data;

	do {
		size_t n = len < WORK_PAYLOAD_MAX ? len : WORK_PAYLOAD_MAX;
		struct work_answer head = {.magic = WORK_MAGIC,
					   .id = id,
					   .kind = (uint8_t)kind,
					   .more = n < len,
					   .len = (uint32_t)n};
		struct iovec iov[2] = {{&head, sizeof(head)}, {(void *)p, n}};
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
		ssize_t res;

		do {
			res = sendmsg(WORK_FD, &msg, MSG_NOSIGNAL);
		} while (res < 0 && errno == EINTR);
		if (res < 0)
			return -errno;
		p += n;
		len -= n;
	} while (len > 0);
	return 0;
}

/* ---- one file ---------------------------------------------------------------------------------
 */

void work_text(struct work *w, const char *text, size_t len, enum words_zone zone)
{
	out_excerpt(w->out, text, len);
	words_feed(w->words, text, len, zone);
}

/* Takes off the ending that tells the compression, so that what is inside is known by its own. */
static void name_unpacked(char *name)
{
	static const char *const endings[] = {".gz", ".xz", ".zst", ".bz2", ".lzma", ".lz4"};
	size_t len = strlen(name);

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		size_t n = strlen(endings[i]);

		if (len > n && strcasecmp(name + len - n, endings[i]) == 0) {
			name[len - n] = '\0';
			return;
		}
	}
}

/* Puts what is unpacked in the place of the content. 0 or -errno with *why. */
static int input_unpack(struct worker *w, struct input *in, char *name, const char **why)
{
	int64_t n = archive_unpack_head(in->fd, w->unpacked, &in->whole, why);

	if (n < 0)
		return (int)n;
	in->head = w->unpacked;
	in->head_len = (size_t)n;
	in->unpacked = true;
	name_unpacked(name);
	return 0;
}

/* What it is, through a compression if there is one. False: it is broken, and out says so. */
static bool file_sniff(struct worker *w, struct input *in, struct work_request *r,
		       struct sniffed *sniffed)
{
	const char *compression, *why = NULL, *refined;
	bool known = r->mime[0] != '\0';

	if (known) {
		memcpy(sniffed->mime, r->mime, sizeof(sniffed->mime));
		memcpy(sniffed->encoding, r->encoding, sizeof(sniffed->encoding));
		compression = r->compression[0] != '\0' ? r->compression : NULL;
	} else {
		sniff_content(w->sniff, in, sniffed);
		compression = sniff_compression(sniffed);
	}
	if (compression != NULL) {
		if (compression != r->compression)
			snprintf(r->compression, sizeof(r->compression), "%s", compression);
		if (input_unpack(w, in, r->name, &why) < 0) {
			out_kind(w->out, EXTRACT_KIND_ARCHIVE, sniffed->mime);
			out_fail(w->out, "%s", why);
			return false;
		}
		if (!known)
			sniff_content(w->sniff, in, sniffed);
	}
	refined = known ? NULL : kind_refine_text(sniffed->mime, r->name);
	if (refined != NULL)
		snprintf(sniffed->mime, sizeof(sniffed->mime), "%s", refined);
	return true;
}

static int file_route(const struct work_request *r, const struct sniffed *sniffed,
		      enum work_class class)
{
	struct work_route route = {.class = (uint8_t) class};

	memcpy(route.hash, r->hash, sizeof(route.hash));
	memcpy(route.mime, sniffed->mime, sizeof(route.mime));
	memcpy(route.encoding, sniffed->encoding, sizeof(route.encoding));
	memcpy(route.compression, r->compression, sizeof(route.compression));
	return answer_send(r->id, WORK_ROUTE, &route, sizeof(route));
}

static void file_tags(struct worker *w, const struct kind *kind, const struct work_request *r,
		      const struct sniffed *sniffed)
{
	for (size_t i = 0; i < sizeof(kind->tags) / sizeof(kind->tags[0]); i++)
		out_tag(w->out, kind->tags[i], TAG_KIND_WEIGHT, EXTRACT_SOURCE_KIND);
	out_fact_text(w->out, EXTRACT_FACT_COMPRESSION, r->compression, strlen(r->compression));
	out_fact_text(w->out, EXTRACT_FACT_ENCODING, sniffed->encoding, strlen(sniffed->encoding));
}

static int file_answer(struct worker *w, uint32_t id)
{
	size_t len;
	char *text = out_finish(w->out, &len);
	int res;

	if (text == NULL)
		return -ENOMEM;
	res = len > WORK_ANSWER_MAX ? -EMSGSIZE : answer_send(id, WORK_RESULT, text, len);
	free(text);
	return res;
}

static void file_extract(struct worker *w, struct input *in, const struct work_request *r,
			 const struct kind *kind, const struct sniffed *sniffed)
{
	struct work work = {.in = in,
			    .sniffed = sniffed,
			    .words = w->words,
			    .out = w->out,
			    .flags = r->flags,
			    .source = EXTRACT_SOURCE_PHRASE};

	out_kind(w->out, kind->kind, sniffed->mime);
	file_tags(w, kind, r, sniffed);
	if (kind->extractor == EXTRACTOR_NONE)
		return;
	w->class->extractors[kind->extractor](&work);
	words_finish(w->words, &w->result);
	out_words(w->out, &w->result, work.source);
}

/* Reads and hashes. 1: go on; 0: answered; -errno. */
static int file_open(struct worker *w, struct input *in, int fd, struct work_request *r)
{
	static const uint8_t none[EXTRACT_HASH_BYTES];
	int res = input_open(in, fd, r->size, r->name, w->head);

	if (res == 0 && memcmp(r->hash, none, sizeof(none)) == 0)
		res = input_hash(in, r->mtime_ns, r->hash);
	if (res < 0) {
		out_fail(w->out, "it cannot be read: %s", strerror(-res));
		return file_answer(w, r->id);
	}
	out_hash(w->out, r->hash);
	if (memcmp(r->known_hash, none, sizeof(none)) != 0 &&
	    memcmp(r->known_hash, r->hash, sizeof(none)) == 0) {
		out_same(w->out);
		return file_answer(w, r->id);
	}
	return 1;
}

static int file_picture(struct worker *w, struct input *in, const struct work_request *r,
			const struct sniffed *sniffed)
{
	uint8_t *jpeg = NULL;
	size_t len = 0;
	int res = -ENOTSUP;

	if (w->class->picture != NULL)
		res = w->class->picture(in, sniffed, r, &jpeg, &len);
	if (res == 0)
		res = answer_send(r->id, WORK_DATA, jpeg, len);
	else
		res = answer_send(r->id, WORK_NONE, "", 0);
	free(jpeg);
	return res;
}

static int file_work(struct worker *w, int fd, struct work_request *r)
{
	struct sniffed sniffed;
	struct input in;
	const struct kind *kind;
	bool picture = r->what != WORK_EXTRACT;
	int res;

	out_reset(w->out);
	words_reset(w->words);
	res = file_open(w, &in, fd, r);
	if (res <= 0)
		return res;
	if (!file_sniff(w, &in, r, &sniffed))
		return picture ? answer_send(r->id, WORK_NONE, "", 0) : file_answer(w, r->id);
	kind = kind_of_mime(sniffed.mime);
	if (kind->extractor != EXTRACTOR_NONE && kind_class(kind->extractor) != w->class->class) {
		/* sent here by mistake, it must not go to and fro for ever */
		res = r->mime[0] == '\0' ? file_route(r, &sniffed, kind_class(kind->extractor))
					 : -EPROTO;
	} else if (picture) {
		res = file_picture(w, &in, r, &sniffed);
	} else {
		file_extract(w, &in, r, kind, &sniffed);
		res = file_answer(w, r->id);
	}
	input_close(&in);
	return res;
}

/* ---- life -------------------------------------------------------------------------------------
 */

/* Nobody waits for a worker's processor or disk. */
static void worker_step_back(void)
{
	setpriority(PRIO_PROCESS, 0, NICE);
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_BE_LOWEST);
}

static bool worker_init(struct worker *w, const struct worker_class *class)
{
	*w = (struct worker){.class = class};
	w->sniff = sniff_create();
	w->words = words_create();
	w->out = out_create();
	/* one byte tells that there is more, one is the NUL */
	w->head = malloc(INPUT_HEAD_MAX + 2);
	w->unpacked = malloc(INPUT_HEAD_MAX + 2);
	return w->sniff != NULL && w->words != NULL && w->out != NULL && w->head != NULL &&
	       w->unpacked != NULL && (class->prepare == NULL || class->prepare() == 0);
}

static void worker_free(struct worker *w)
{
	sniff_destroy(w->sniff);
	words_destroy(w->words);
	out_destroy(w->out);
	free(w->head);
	free(w->unpacked);
}

static int worker_serve(struct worker *w)
{
	struct work_request r;
	int fd = -1, res;

	while ((res = request_receive(&r, &fd)) > 0) {
		r.name[sizeof(r.name) - 1] = r.mime[sizeof(r.mime) - 1] = '\0';
		r.encoding[sizeof(r.encoding) - 1] = r.compression[sizeof(r.compression) - 1] =
			'\0';
		res = file_work(w, fd, &r);
		close(fd);
		if (res < 0)
			break;
	}
	return res;
}

int worker_main(const struct worker_class *class, int argc, char **argv)
{
	struct worker w;
	uint64_t memory = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	int type = 0, res;
	socklen_t len = sizeof(type);

	if (getsockopt(WORK_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET) {
		fprintf(stderr, "%s: this program is started by tagger\n", argv[0]);
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	worker_step_back();
	if (!worker_init(&w, class)) {
		fprintf(stderr, "%s: out of memory, or libmagic has no database\n", argv[0]);
		return 1;
	}
	res = sandbox_limit(memory > 0 ? memory : MEMORY_DEFAULT);
	if (res == 0)
		res = sandbox_enter(class->paths);
	if (res < 0) {
		fprintf(stderr, "%s: no sandbox: %s\n", argv[0], strerror(-res));
		return 1;
	}
	res = answer_send(0, WORK_READY, "", 0);
	if (res == 0)
		res = worker_serve(&w);
	worker_free(&w);
	return res == 0 ? 0 : 1;
}
