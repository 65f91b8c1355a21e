/*
 * What is on the wire of an NBD connection: numbers and structs of the protocol document
 * (doc/proto.md of the nbd project), for the session and the client engine. All integers are
 * big-endian there.
 */
#ifndef WEFT_NBD_PROTO_H
#define WEFT_NBD_PROTO_H

#include <assert.h>
#include <endian.h>
#include <stdint.h>
#include <string.h>

/* ---- negotiation --------------------------------------------------------------------------- */

#define NBD_GREETING_MAGIC	    0x4e42444d41474943ULL /* "NBDMAGIC" */
#define NBD_OPTION_MAGIC	    0x49484156454f5054ULL /* "IHAVEOPT" */
#define NBD_REP_MAGIC		    0x0003e889045565a9ULL

/* handshake flags, of the server and of the client alike */
#define NBD_FLAG_FIXED_NEWSTYLE	    0x0001u
#define NBD_FLAG_NO_ZEROES	    0x0002u

#define NBD_OPT_EXPORT_NAME	    1u
#define NBD_OPT_ABORT		    2u
#define NBD_OPT_LIST		    3u
#define NBD_OPT_STARTTLS	    5u
#define NBD_OPT_INFO		    6u
#define NBD_OPT_GO		    7u
#define NBD_OPT_STRUCTURED_REPLY    8u
#define NBD_OPT_LIST_META_CONTEXT   9u
#define NBD_OPT_SET_META_CONTEXT    10u
#define NBD_OPT_EXTENDED_HEADERS    11u

#define NBD_REP_ACK		    1u
#define NBD_REP_SERVER		    2u
#define NBD_REP_INFO		    3u
#define NBD_REP_META_CONTEXT	    4u
#define NBD_REP_FLAG_ERROR	    0x80000000u
#define NBD_REP_ERR_UNSUP	    0x80000001u
#define NBD_REP_ERR_POLICY	    0x80000002u
#define NBD_REP_ERR_INVALID	    0x80000003u
#define NBD_REP_ERR_PLATFORM	    0x80000004u
#define NBD_REP_ERR_TLS_REQD	    0x80000005u
#define NBD_REP_ERR_UNKNOWN	    0x80000006u
#define NBD_REP_ERR_SHUTDOWN	    0x80000007u
#define NBD_REP_ERR_BLOCK_SIZE_REQD 0x80000008u
#define NBD_REP_ERR_TOO_BIG	    0x80000009u

#define NBD_INFO_EXPORT		    0u
#define NBD_INFO_NAME		    1u
#define NBD_INFO_DESCRIPTION	    2u
#define NBD_INFO_BLOCK_SIZE	    3u

struct nbd_greeting {
	uint64_t magic;
	uint64_t option_magic;
	uint16_t flags;
} __attribute__((packed));
static_assert(sizeof(struct nbd_greeting) == 18, "wire");

struct nbd_option {
	uint64_t magic;
	uint32_t option;
	uint32_t len;
} __attribute__((packed));
static_assert(sizeof(struct nbd_option) == 16, "wire");

struct nbd_option_reply {
	uint64_t magic;
	uint32_t option;
	uint32_t type;
	uint32_t len;
} __attribute__((packed));
static_assert(sizeof(struct nbd_option_reply) == 20, "wire");

/* The answer to EXPORT_NAME; NBD_EXPORT_ZEROES more bytes unless both sides said NO_ZEROES. */
struct nbd_export_reply {
	uint64_t size;
	uint16_t flags;
} __attribute__((packed));
static_assert(sizeof(struct nbd_export_reply) == 10, "wire");
#define NBD_EXPORT_ZEROES 124u

struct nbd_info_export {
	uint16_t type;
	uint64_t size;
	uint16_t flags;
} __attribute__((packed));
static_assert(sizeof(struct nbd_info_export) == 12, "wire");

struct nbd_info_block_size {
	uint16_t type;
	uint32_t min_block;
	uint32_t pref_block;
	uint32_t max_block;
} __attribute__((packed));
static_assert(sizeof(struct nbd_info_block_size) == 14, "wire");

/* ---- transmission -------------------------------------------------------------------------- */

#define NBD_REQUEST_MAGIC	    0x25609513u
#define NBD_SIMPLE_REPLY_MAGIC	    0x67446698u
#define NBD_STRUCTURED_REPLY_MAGIC  0x668e33efu

/* transmission flags of an export */
#define NBD_FLAG_HAS_FLAGS	    0x0001u
#define NBD_FLAG_READ_ONLY	    0x0002u
#define NBD_FLAG_SEND_FLUSH	    0x0004u
#define NBD_FLAG_SEND_FUA	    0x0008u
#define NBD_FLAG_ROTATIONAL	    0x0010u
#define NBD_FLAG_SEND_TRIM	    0x0020u
#define NBD_FLAG_SEND_WRITE_ZEROES  0x0040u
#define NBD_FLAG_SEND_DF	    0x0080u
#define NBD_FLAG_CAN_MULTI_CONN	    0x0100u
#define NBD_FLAG_SEND_CACHE	    0x0400u
#define NBD_FLAG_SEND_FAST_ZERO	    0x0800u

#define NBD_CMD_READ		    0u
#define NBD_CMD_WRITE		    1u
#define NBD_CMD_DISC		    2u
#define NBD_CMD_FLUSH		    3u
#define NBD_CMD_TRIM		    4u
#define NBD_CMD_CACHE		    5u
#define NBD_CMD_WRITE_ZEROES	    6u
#define NBD_CMD_BLOCK_STATUS	    7u

#define NBD_CMD_FLAG_FUA	    0x0001u
#define NBD_CMD_FLAG_NO_HOLE	    0x0002u
#define NBD_CMD_FLAG_DF		    0x0004u
#define NBD_CMD_FLAG_REQ_ONE	    0x0008u
#define NBD_CMD_FLAG_FAST_ZERO	    0x0010u

#define NBD_REPLY_FLAG_DONE	    0x0001u
#define NBD_REPLY_TYPE_NONE	    0u
#define NBD_REPLY_TYPE_OFFSET_DATA  1u
#define NBD_REPLY_TYPE_OFFSET_HOLE  2u
#define NBD_REPLY_TYPE_BLOCK_STATUS 5u
#define NBD_REPLY_TYPE_ERROR	    0x8001u
#define NBD_REPLY_TYPE_ERROR_OFFSET 0x8002u

/* base:allocation */
#define NBD_STATE_HOLE		    0x1u
#define NBD_STATE_ZERO		    0x2u

/* errors; the numbers are the protocol's, whatever the machine's errno are */
#define NBD_EPERM		    1u
#define NBD_EIO			    5u
#define NBD_ENOMEM		    12u
#define NBD_EINVAL		    22u
#define NBD_ENOSPC		    28u
#define NBD_EOVERFLOW		    75u
#define NBD_ENOTSUP		    95u
#define NBD_ESHUTDOWN		    108u

struct nbd_request_wire {
	uint32_t magic;
	uint16_t flags;
	uint16_t type;
	uint64_t cookie;
	uint64_t offset;
	uint32_t len;
} __attribute__((packed));
static_assert(sizeof(struct nbd_request_wire) == 28, "wire");

struct nbd_simple_reply {
	uint32_t magic;
	uint32_t error;
	uint64_t cookie;
} __attribute__((packed));
static_assert(sizeof(struct nbd_simple_reply) == 16, "wire");

struct nbd_chunk {
	uint32_t magic;
	uint16_t flags;
	uint16_t type;
	uint64_t cookie;
	uint32_t len;
} __attribute__((packed));
static_assert(sizeof(struct nbd_chunk) == 20, "wire");

struct nbd_chunk_data {
	struct nbd_chunk head;
	uint64_t offset;
} __attribute__((packed));
static_assert(sizeof(struct nbd_chunk_data) == 28, "wire");

struct nbd_chunk_hole {
	struct nbd_chunk head;
	uint64_t offset;
	uint32_t hole_len;
} __attribute__((packed));
static_assert(sizeof(struct nbd_chunk_hole) == 32, "wire");

struct nbd_chunk_error {
	struct nbd_chunk head;
	uint32_t error;
	uint16_t text_len;
} __attribute__((packed));
static_assert(sizeof(struct nbd_chunk_error) == 26, "wire");

struct nbd_chunk_status {
	struct nbd_chunk head;
	uint32_t context;
} __attribute__((packed));
static_assert(sizeof(struct nbd_chunk_status) == 24, "wire");

/* ---- unaligned big-endian numbers ---------------------------------------------------------- */

static inline uint16_t nbd_get16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static inline uint32_t nbd_get32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t nbd_get64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static inline void nbd_put16(void *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void nbd_put32(void *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void nbd_put64(void *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

#endif
