/* Tables for people; see table.h. */
#include "config.h"

#include "table.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>

#include "banned.h"

#define CELL_TEXT_MAX 512

struct table {
	const char *const *headings;
	int columns;
	char **cells; /* row by row */
	size_t ncells, room;
	bool failed; /* out of memory: printed as such */
};

struct table *table_create(const char *const *headings)
{
	struct table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->headings = headings;
	while (headings[t->columns] != NULL && t->columns < TABLE_COLUMNS_MAX)
		t->columns++;
	return t;
}

void table_destroy(struct table *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->ncells; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
}

static bool table_grow(struct table *t)
{
	size_t room = t->room > 0 ? t->room * 2 : 64;
	char **cells;

	if (t->ncells < t->room)
		return true;
	if (room > (size_t)TABLE_ROWS_MAX * TABLE_COLUMNS_MAX * 2)
		return false;
	cells = realloc(t->cells, room * sizeof(*cells));
	if (cells == NULL)
		return false;
	t->cells = cells;
	t->room = room;
	return true;
}

void table_cell(struct table *t, const char *fmt, ...)
{
	char text[CELL_TEXT_MAX];
	va_list ap;

	if (t == NULL || t->failed)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* names come from elsewhere: no escape sequences to the terminal */
	for (char *p = text; *p != '\0'; p++)
		if (iscntrl((unsigned char)*p))
			*p = '?';
	if (!table_grow(t) || (t->cells[t->ncells] = strdup(*text != '\0' ? text : "-")) == NULL) {
		t->failed = true;
		return;
	}
	t->ncells++;
}

static const char *heading(const struct table *t, int column)
{
	return t->headings[column] + (t->headings[column][0] == '>');
}

/* Columns, not bytes: continuation bytes of UTF-8 take no room. */
static int text_width(const char *s)
{
	int n = 0;

	for (; *s != '\0'; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

static void print_line(const struct table *t, FILE *out, int indent, const int *width,
		       char *const *cells)
{
	fprintf(out, "%*s", indent, "");
	for (int c = 0; c < t->columns; c++) {
		const char *text = cells != NULL ? cells[c] : heading(t, c);
		int pad = width[c] - text_width(text);

		if (t->headings[c][0] == '>')
			fprintf(out, "%*s%s", pad, "", text);
		else if (c < t->columns - 1)
			fprintf(out, "%s%*s", text, pad, "");
		else
			fputs(text, out);
		fputs(c < t->columns - 1 ? "  " : "\n", out);
	}
}

void table_print(const struct table *t, FILE *out, int indent, const char *empty)
{
	int width[TABLE_COLUMNS_MAX];
	size_t rows;

	if (t == NULL || t->failed) {
		fprintf(out, "%*s(out of memory)\n", indent, "");
		return;
	}
	rows = t->ncells / (size_t)t->columns;
	if (rows == 0) {
		fprintf(out, "%*s%s\n", indent, "", empty);
		return;
	}
	for (int c = 0; c < t->columns; c++) {
		width[c] = text_width(heading(t, c));
		for (size_t r = 0; r < rows; r++) {
			int w = text_width(t->cells[r * (size_t)t->columns + (size_t)c]);

			if (w > width[c])
				width[c] = w;
		}
	}
	print_line(t, out, indent, width, NULL);
	for (size_t r = 0; r < rows; r++)
		print_line(t, out, indent, width, &t->cells[r * (size_t)t->columns]);
}
