/*
 * TLS for lib/http.h: one context, made of a certificate chain and a key in PEM files. When the
 * files change (a renewal), the next connection gets the new ones; when the new ones are no good,
 * the old go on and a warning is logged once.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "http.h"
#include "log.h"
#include "banned.h"

struct http_tls {
	char *cert, *key;
	SSL_CTX *ctx;
	struct timespec changed; /* the certificate's file, when ctx was made or was tried */
	char why[256];
};

static SSL_CTX *tls_context(struct http_tls *t)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	const char *what = "out of memory";

	if (ctx != NULL) {
		SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
		SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
		if (SSL_CTX_use_certificate_chain_file(ctx, t->cert) != 1)
			what = "the certificate cannot be used";
		else if (SSL_CTX_use_PrivateKey_file(ctx, t->key, SSL_FILETYPE_PEM) != 1)
			what = "the key cannot be used";
		else if (SSL_CTX_check_private_key(ctx) != 1)
			what = "the key is not that of the certificate";
		else
			return ctx;
	}
	snprintf(t->why, sizeof(t->why), "%s: %s", what, ERR_reason_error_string(ERR_get_error()));
	ERR_clear_error();
	SSL_CTX_free(ctx);
	return NULL;
}

static struct timespec tls_time(const struct http_tls *t)
{
	struct stat st;

	return stat(t->cert, &st) == 0 ? st.st_mtim : (struct timespec){0};
}

struct http_tls *http_tls_load(const char *cert, const char *key, const char **why)
{
	static char text[256];
	struct http_tls *t = calloc(1, sizeof(*t));

	*why = "out of memory";
	if (t == NULL)
		return NULL;
	t->cert = strdup(cert);
	t->key = strdup(key);
	if (t->cert != NULL && t->key != NULL) {
		t->changed = tls_time(t);
		t->ctx = tls_context(t);
		if (t->ctx != NULL)
			return t;
		snprintf(text, sizeof(text), "%s", t->why);
		*why = text;
	}
	http_tls_free(t);
	return NULL;
}

void http_tls_free(struct http_tls *t)
{
	if (t == NULL)
		return;
	SSL_CTX_free(t->ctx);
	free(t->cert);
	free(t->key);
	free(t);
}

static void tls_renew(struct http_tls *t)
{
	struct timespec now = tls_time(t);
	SSL_CTX *ctx;

	if (now.tv_sec == 0 ||
	    (now.tv_sec == t->changed.tv_sec && now.tv_nsec == t->changed.tv_nsec))
		return;
	t->changed = now;
	ctx = tls_context(t);
	if (ctx == NULL) {
		log_warn("the new certificate %s is not used, the old one goes on: %s", t->cert,
			 t->why);
		return;
	}
	SSL_CTX_free(t->ctx); /* connections hold their own reference */
	t->ctx = ctx;
	log_info("the certificate %s was read anew", t->cert);
}

/* ---- handshakes ---------------------------------------------------------------------------- */
/*
 * libevent's limit is on silence, and that on slow requests (http-late.c) begins behind the
 * handshake: it has to end by itself. The timer goes with the connection's SSL, whoever frees that.
 */

static void handshake_late(evutil_socket_t unused, short what, void *arg)
{
	SSL *ssl = arg;
	int fd = SSL_get_fd(ssl);

	if (!SSL_is_init_finished(ssl) && fd >= 0)
		shutdown(fd, SHUT_RDWR); /* libevent sees an end, and closes it */
}

static void handshake_free(void *parent, void *timer, CRYPTO_EX_DATA *data, int index, long argl,
			   void *argp)
{
	if (timer != NULL)
		event_free(timer);
}

/* -ENOMEM: without a limit there is no connection. */
static int handshake_start(SSL *ssl, struct event_base *base)
{
	static const struct timeval patience = {.tv_sec = HTTP_REQUEST_S};
	static int slot = -1;
	struct event *timer = evtimer_new(base, handshake_late, ssl);

	if (slot < 0)
		slot = SSL_get_ex_new_index(0, NULL, NULL, NULL, handshake_free);
	if (timer == NULL || slot < 0 || SSL_set_ex_data(ssl, slot, timer) != 1) {
		if (timer != NULL)
			event_free(timer);
		return -ENOMEM;
	}
	return event_add(timer, &patience) < 0 ? -ENOMEM : 0;
}

struct bufferevent *http_tls_connection(struct http_tls *t, struct event_base *base)
{
	struct bufferevent *bev = NULL;
	SSL *ssl;

	tls_renew(t);
	ssl = SSL_new(t->ctx);
	if (ssl == NULL)
		return NULL;
	if (handshake_start(ssl, base) != 0) {
		SSL_free(ssl);
		return NULL;
	}
	bev = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
					     BEV_OPT_CLOSE_ON_FREE);
	if (bev == NULL)
		SSL_free(ssl);
	else
		bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
	return bev;
}
