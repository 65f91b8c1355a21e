/* Proofs of the cluster's secret. */
#include "config.h"

#include "nbd/auth.h"
#include "tap.h"

int main(void)
{
	/* HMAC-SHA256 of the documented text, computed by "openssl dgst -mac HMAC" */
	static const uint8_t known[WEFT_PROOF_BYTES] = {
		0x4f, 0x1b, 0x51, 0xd0, 0x65, 0x35, 0xb0, 0xdb, 0x88, 0xaa, 0xa6,
		0x5c, 0xd6, 0x0a, 0x9d, 0x97, 0x52, 0xbd, 0x0e, 0x83, 0x1b, 0x36,
		0x9d, 0x68, 0x13, 0x0e, 0x3a, 0xf5, 0xd2, 0xaf, 0xfb, 0x5d};
	uint8_t secret[WEFT_SECRET_BYTES], cn[WEFT_NONCE_BYTES], sn[WEFT_NONCE_BYTES];
	uint8_t cluster[WEFT_UUID_BYTES], store[WEFT_UUID_BYTES];
	uint8_t server[WEFT_PROOF_BYTES], client[WEFT_PROOF_BYTES], other[WEFT_PROOF_BYTES];
	uint8_t *const inputs[] = {secret, cn, sn, cluster, store};
	const char *const names[] = {"the secret", "the client's nonce", "the server's nonce",
				     "the cluster", "the store"};

	memset(secret, 1, sizeof(secret));
	memset(cn, 2, sizeof(cn));
	memset(sn, 3, sizeof(sn));
	memset(cluster, 4, sizeof(cluster));
	memset(store, 5, sizeof(store));
	nbd_auth_proof(secret, NBD_AUTH_SERVER, cn, sn, cluster, store, server);
	nbd_auth_proof(secret, NBD_AUTH_CLIENT, cn, sn, cluster, store, client);
	ok(nbd_auth_equal(server, known), "the proof is HMAC-SHA256 of the documented text");
	ok(!nbd_auth_equal(server, client), "the two sides' proofs differ");
	nbd_auth_proof(secret, NBD_AUTH_SERVER, cn, sn, cluster, store, other);
	ok(nbd_auth_equal(server, other), "the same input gives the same proof");
	for (int i = 0; i < 5; i++) {
		char name[64];

		inputs[i][15] ^= 0x80;
		nbd_auth_proof(secret, NBD_AUTH_SERVER, cn, sn, cluster, store, other);
		inputs[i][15] ^= 0x80;
		snprintf(name, sizeof(name), "it depends on %s", names[i]);
		ok(!nbd_auth_equal(server, other), name);
	}
	nbd_auth_proof(secret, NBD_AUTH_SERVER, sn, cn, cluster, store, other);
	ok(!nbd_auth_equal(server, other), "the nonces cannot be exchanged");
	return done_testing();
}
