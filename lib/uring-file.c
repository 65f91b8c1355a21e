/*
 * The table of registered files: an operation on a slot of it saves the kernel the look-up and the
 * reference count of a descriptor. Where the table is full or the kernel has none, the descriptor
 * itself is used and everything works.
 */
#include "config.h"

#include <assert.h>
#include <stdlib.h>

#include "uring-internal.h"

#include "banned.h"

void uring_files_init(struct uring *u)
{
	if (io_uring_register_files_sparse(&u->ring, URING_FILES_MAX) < 0)
		return;
	u->free_files = calloc(URING_FILES_MAX, sizeof(*u->free_files));
	if (u->free_files == NULL)
		return;
	for (unsigned i = 0; i < URING_FILES_MAX; i++)
		u->free_files[i] = (uint16_t)(URING_FILES_MAX - 1 - i);
	u->nfree_files = URING_FILES_MAX;
}

void uring_files_free(struct uring *u)
{
	free(u->free_files);
}

int uring_file_add(struct uring *u, int fd)
{
	unsigned slot;

	if (u->nfree_files == 0)
		return -1;
	slot = u->free_files[u->nfree_files - 1];
	if (io_uring_register_files_update(&u->ring, slot, &fd, 1) != 1)
		return -1;
	u->nfree_files--;
	return (int)slot;
}

void uring_file_remove(struct uring *u, int slot)
{
	int none = -1;

	if (slot < 0)
		return;
	assert(u->nfree_files < URING_FILES_MAX);
	/* A slot that could not be emptied is not used again. */
	if (io_uring_register_files_update(&u->ring, (unsigned)slot, &none, 1) == 1)
		u->free_files[u->nfree_files++] = (uint16_t)slot;
}
