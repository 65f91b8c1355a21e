/*
 * nbdsrv: options, the order of starting and stopping.
 *
 * Start: open and lock what is exported, bind, make the loop, let the back end get ready (a store
 * replays its log), then accept, then say so. Whoever connects in between waits in the backlog.
 * Stop (SIGTERM, SIGINT): accept no more, finish what is under way, make it durable, close. A
 * second signal ends the process at once: the store's log makes that safe.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "nbdsrv.h"
#include "ready.h"

#include "banned.h"

struct nbdsrv {
	struct nbdsrv_options opt;
	struct backend *backend;
	struct listen *listen;
	struct guarding *guarding;
	struct buf_pool *pool;
	struct uring *u;
	bool serving;
	bool stopping;
	int status; /* of the process */
	struct uring_message stop_message;
};

static struct nbdsrv nbdsrv; /* signal handlers reach it */

/* ---- stopping ------------------------------------------------------------------------------ */

static void all_closed(void *arg)
{
	struct nbdsrv *n = arg;

	guarding_stop(n->guarding);
	uring_stop(n->u);
}

void nbdsrv_stopped(struct nbdsrv *n, int err)
{
	if (err != 0) {
		log_error("stopping: the last changes could not be written: %s", strerror(-err));
		n->status = 1;
	}
	listen_close(n->listen, all_closed, n);
}

static void nbdsrv_stop(struct uring_message *m)
{
	struct nbdsrv *n = &nbdsrv;

	n->stopping = true;
	if (!n->serving)
		return; /* still starting: then it stops as soon as it can serve */
	log_info("stopping");
	ready_stopping();
	listen_stop(n->listen);
	n->backend->ops->stop(n->backend);
}

static void on_signal(int sig)
{
	static atomic_int count;

	if (atomic_fetch_add(&count, 1) > 0)
		_exit(128 + sig);
	uring_post(nbdsrv.u, &nbdsrv.stop_message);
}

static void catch_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* ---- starting ------------------------------------------------------------------------------ */

void nbdsrv_serving(struct nbdsrv *n, int err, const char *why)
{
	if (err != 0) {
		log_error("%s", why);
		n->status = 1;
		uring_stop(n->u);
		return;
	}
	n->serving = true;
	listen_start(n->listen, n->u, n->pool, n->backend);
	if (n->stopping) {
		nbdsrv_stop(NULL);
		return;
	}
	listen_report(n->listen, n->opt.ready_fd);
	ready_done(n->opt.ready_fd);
}

struct guarding *nbdsrv_guarding(struct nbdsrv *n)
{
	return n->guarding;
}

uint64_t nbdsrv_route_name(const struct nbdsrv *n)
{
	return listen_route_name(n->listen);
}

static int loop_create(struct nbdsrv *n)
{
	struct uring_options uopt = {.spin_us = n->opt.spin_us, .batch = true};
	int err;

	n->pool = buf_pool_create(NBDSRV_POOL_BYTES,
				  n->backend->ops->direct(n->backend) ? NBDSRV_ARENA_BYTES : 0);
	if (n->pool == NULL) {
		log_error("not enough memory for the payload buffers");
		return -ENOMEM;
	}
	uopt.pool = n->pool;
	err = uring_create(&uopt, &n->u);
	if (err == -ENOSYS || err == -EPERM)
		log_error("io_uring is forbidden or missing here (%s): kernel 6.1 or later is "
			  "needed, "
			  "with the sysctl kernel.io_uring_disabled at 0",
			  strerror(-err));
	else if (err < 0)
		log_error("cannot set up io_uring: %s", strerror(-err));
	return err;
}

static int serve(struct nbdsrv *n)
{
	int err;

	n->backend =
		n->opt.file != NULL ? export_file_create(&n->opt) : serve_store_create(&n->opt);
	if (n->backend == NULL)
		return 1;
	n->listen = listen_create(&n->opt);
	if (n->listen == NULL)
		return 1;
	n->guarding = guarding_create(&n->opt, n->listen);
	if (n->guarding == NULL || loop_create(n) < 0)
		return 1;
	guarding_start(n->guarding, uring_env(n->u));
	n->stop_message.fn = nbdsrv_stop;
	catch_signals();
	n->backend->ops->start(n->backend, n, n->u, n->pool);
	err = uring_run(n->u);
	if (err < 0) {
		log_error("the event loop failed: %s", strerror(-err));
		return 1;
	}
	n->backend->ops->free(n->backend);
	uring_destroy(n->u);
	listen_free(n->listen);
	guarding_free(n->guarding);
	if (buf_pool_used(n->pool) == 0) /* not so when a client did not take its answers */
		buf_pool_destroy(n->pool);
	return n->status;
}

int main(int argc, char **argv)
{
	struct nbdsrv_options *opt = &nbdsrv.opt;

	if (options_parse(opt, argc, argv) < 0)
		return 2;
	log_init("nbdsrv", opt->log_level);
	return opt->format ? format_store(opt) : serve(&nbdsrv);
}
