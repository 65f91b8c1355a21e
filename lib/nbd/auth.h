/*
 * Proofs that both ends of a private connection know the cluster's secret (weft.h has the
 * exchange). Pure: nonces come from the caller. HMAC-SHA256 (RFC 2104) and constant-time comparison
 * by libcrypto.
 */
#ifndef WEFT_NBD_AUTH_H
#define WEFT_NBD_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "nbd/weft.h"

struct nbd_auth_config {
	uint8_t secret[WEFT_SECRET_BYTES];
	uint8_t cluster[WEFT_UUID_BYTES];
	uint8_t store[WEFT_UUID_BYTES];
	uint8_t boot[WEFT_UUID_BYTES];
};

enum nbd_auth_side { NBD_AUTH_SERVER, NBD_AUTH_CLIENT };

void nbd_auth_proof(const uint8_t secret[WEFT_SECRET_BYTES], enum nbd_auth_side side,
		    const uint8_t client_nonce[WEFT_NONCE_BYTES],
		    const uint8_t server_nonce[WEFT_NONCE_BYTES],
		    const uint8_t cluster[WEFT_UUID_BYTES], const uint8_t store[WEFT_UUID_BYTES],
		    uint8_t proof[WEFT_PROOF_BYTES]);
bool nbd_auth_equal(const uint8_t a[WEFT_PROOF_BYTES], const uint8_t b[WEFT_PROOF_BYTES]);

#endif
