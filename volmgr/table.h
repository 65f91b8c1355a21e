/*
 * Tables for people: columns as wide as they must be, numbers to the right, words to the left.
 * Pure.
 */
#ifndef WEFT_TABLE_H
#define WEFT_TABLE_H

#include <stdio.h>

#define TABLE_COLUMNS_MAX 12
#define TABLE_ROWS_MAX	  65536

struct table;

/* headings: NULL ends them; one that starts with '>' is right-aligned. NULL: out of memory. */
struct table *table_create(const char *const *headings);
/* One cell after the other, row by row; printf-like. Control characters become '?'. */
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints; nothing but the empty text when there are no rows. indent: spaces before each line. */
void table_print(const struct table *t, FILE *out, int indent, const char *empty);
void table_destroy(struct table *t);

#endif
