/*
 * Proofs of the cluster's secret: HMAC-SHA256 over a label that names the side, both nonces and the
 * server's identity, so that no proof can be played back on another connection, to another store or
 * in the other direction.
 */
#include "config.h"

#include "nbd/auth.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "banned.h"

#define LABEL_BYTES 13

static_assert(sizeof(struct weft_hello) == 40, "wire");
static_assert(sizeof(struct weft_hello_reply) == 120, "wire");
static_assert(sizeof(struct weft_proof) == WEFT_PROOF_BYTES, "wire");

struct proof_text {
	char label[LABEL_BYTES];
	uint8_t client_nonce[WEFT_NONCE_BYTES];
	uint8_t server_nonce[WEFT_NONCE_BYTES];
	uint8_t cluster[WEFT_UUID_BYTES];
	uint8_t store[WEFT_UUID_BYTES];
} __attribute__((packed));
static_assert(sizeof(struct proof_text) == LABEL_BYTES + 96, "what is signed has no padding");

void nbd_auth_proof(const uint8_t secret[WEFT_SECRET_BYTES], enum nbd_auth_side side,
		    const uint8_t client_nonce[WEFT_NONCE_BYTES],
		    const uint8_t server_nonce[WEFT_NONCE_BYTES],
		    const uint8_t cluster[WEFT_UUID_BYTES], const uint8_t store[WEFT_UUID_BYTES],
		    uint8_t proof[WEFT_PROOF_BYTES])
{
	struct proof_text text;
	unsigned len = 0;
	unsigned char *done;

	memcpy(text.label, side == NBD_AUTH_SERVER ? "weft-1 server" : "weft-1 client",
	       LABEL_BYTES);
	memcpy(text.client_nonce, client_nonce, WEFT_NONCE_BYTES);
	memcpy(text.server_nonce, server_nonce, WEFT_NONCE_BYTES);
	memcpy(text.cluster, cluster, WEFT_UUID_BYTES);
	memcpy(text.store, store, WEFT_UUID_BYTES);
	done = HMAC(EVP_sha256(), secret, WEFT_SECRET_BYTES, (const unsigned char *)&text,
		    sizeof(text), proof, &len);
	/* fails only when the library has no SHA-256 or no memory left: going on without a proof
	 * is not an option */
	assert(done != NULL && len == WEFT_PROOF_BYTES);
}

bool nbd_auth_equal(const uint8_t a[WEFT_PROOF_BYTES], const uint8_t b[WEFT_PROOF_BYTES])
{
	return CRYPTO_memcmp(a, b, WEFT_PROOF_BYTES) == 0;
}
