/*
 * A worker that was taken over by the file that it reads: it does what the text says, so that tests
 * see what the sandbox and the pool make of it. A text that names nothing is extracted as it should
 * be.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tagger/worker/worker.h"

#include "banned.h"

#define GREED (1ull << 30)

static void say(struct work *w, const char *what, long res)
{
	out_fail(w->out, "%s: %s", what, res < 0 ? strerror(errno) : "it worked");
}

static void do_allocate(struct work *w)
{
	char *p = malloc(GREED);

	say(w, "allocate", p == NULL ? -1 : 0);
	for (size_t i = 0; p != NULL && i < GREED; i += 4096)
		p[i] = 1;
	free(p);
}

static void do_loop(struct work *w)
{
	for (volatile unsigned int i = 0;; i++)
		;
}

static void do_crash(struct work *w)
{
	raise(SIGSEGV);
}

static void do_exit(struct work *w)
{
	_exit(7);
}

static void do_network(struct work *w)
{
	say(w, "network", socket(AF_INET, SOCK_STREAM, 0));
}

static void do_local(struct work *w)
{
	say(w, "local", socket(AF_UNIX, SOCK_STREAM, 0));
}

static void do_write(struct work *w)
{
	say(w, "write", open("/tmp/weft-hostile", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
}

static void do_read(struct work *w)
{
	say(w, "read", open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static void do_exec(struct work *w)
{
	char name[] = "true", *argv[] = {name, NULL};

	say(w, "exec", execv("/bin/true", argv));
}

static void do_fork(struct work *w)
{
	say(w, "fork", fork());
}

static void do_signal(struct work *w)
{
	say(w, "signal", kill(getppid(), SIGTERM));
}

static void do_unlink(struct work *w)
{
	say(w, "unlink", unlink("/tmp/weft-hostile"));
}

static void do_spoil(struct work *w)
{
	say(w, "spoil", pwrite(w->in->fd, "x", 1, 0));
}

/* An answer that no worker gives. */
static void do_lie(struct work *w)
{
	char lie[sizeof(struct work_answer)];

	memset(lie, 0xff, sizeof(lie));
	say(w, "lie", send(WORK_FD, lie, sizeof(lie), MSG_NOSIGNAL));
	do_loop(w);
}

/* An answer that is no JSON, in an envelope that is right. */
static void do_babble(struct work *w)
{
	struct {
		struct work_answer head;
		char text[8];
	} packet = {{.magic = WORK_MAGIC, .id = 1, .kind = WORK_RESULT, .len = 8}, "{\"a\":[["};

	send(WORK_FD, &packet, sizeof(packet), MSG_NOSIGNAL);
	do_loop(w);
}

static const struct {
	const char *name;
	void (*fn)(struct work *w);
} deeds[] = {
	{"allocate", do_allocate}, {"loop", do_loop},	    {"crash", do_crash},
	{"exit", do_exit},	   {"network", do_network}, {"local", do_local},
	{"write", do_write},	   {"read", do_read},	    {"exec", do_exec},
	{"fork", do_fork},	   {"signal", do_signal},   {"unlink", do_unlink},
	{"spoil", do_spoil},	   {"lie", do_lie},	    {"babble", do_babble},
};

static void extract_hostile(struct work *w)
{
	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
		size_t n = strlen(deeds[i].name);

		if (w->in->head_len > n + 3 && memcmp(w->in->head, "do ", 3) == 0 &&
		    memcmp(w->in->head + 3, deeds[i].name, n) == 0 && w->in->head[n + 3] == '\n') {
			deeds[i].fn(w);
			return;
		}
	}
	extract_text(w);
}

int main(int argc, char **argv)
{
	static const struct worker_class class = {
		.class = WORK_CLASS_TEXT,
		.extractors = {[EXTRACTOR_TEXT] = extract_hostile,
			       [EXTRACTOR_HTML] = extract_text,
			       [EXTRACTOR_MARKDOWN] = extract_hostile,
			       [EXTRACTOR_SOURCE] = extract_text,
			       [EXTRACTOR_XML] = extract_text,
			       [EXTRACTOR_OFFICE] = extract_text,
			       [EXTRACTOR_ARCHIVE] = extract_archive},
	};

	return worker_main(&class, argc, argv);
}
