/* Payload buffers: aligned, recycled, limited. */
#include "config.h"

#include "buf.h"
#include "tap.h"

int main(void)
{
	struct buf_pool *pool = buf_pool_create(1 << 20, 64 << 10);
	struct buf *a = buf_get(pool, 1), *b, *c;

	ok(a != NULL && ((uintptr_t)a->data & (BUF_ALIGN - 1)) == 0, "small buffers are aligned");
	is_int(a->cap, 4096, "one byte takes one block");
	is_int(a->fixed, 0, "small buffers come from the registered slab");
	b = buf_get(pool, 4097);
	is_int(b->cap, 8192, "sizes round up to a class");
	c = buf_get(pool, (1 << 20) - 16384);
	ok(c == NULL, "the pool's limit holds");
	buf_ref(a);
	buf_put(a);
	is_int(buf_pool_used(pool), 12288, "a reference keeps a buffer");
	buf_put(a);
	is_int(buf_pool_used(pool), 8192, "the last reference gives it back");
	ok(buf_get(pool, 4096) == a, "it is used again");
	buf_put(a);
	buf_put(b);
	c = buf_get(pool, 1 << 20);
	ok(c != NULL && c->fixed == -1, "large buffers come from the allocator");
	buf_put(c);
	buf_pool_destroy(pool);
	return done_testing();
}
