/*
 * Perceptual hash, main colours, whether text is likely, orientation.
 */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/worker/look.h"

#include "banned.h"

#define SIDE	  32  /* of the grey picture that is hashed */
#define LOW	  8   /* frequencies that count */
#define BINS	  512 /* three bits of each colour */
#define NEAR	  60  /* colours closer than that are one */
#define SHARE_MIN 0.03

static uint8_t grey_at(const struct picture *p, uint32_t x, uint32_t y)
{
	const uint8_t *c = p->rgb + ((size_t)y * p->width + x) * 3;

	return (uint8_t)((c[0] * 77u + c[1] * 150u + c[2] * 29u) >> 8);
}

/* The mean of the part of the picture that becomes one grey pixel. */
static double grey_mean(const struct picture *p, int gx, int gy)
{
	uint32_t x0 = (uint32_t)((uint64_t)p->width * (unsigned int)gx / SIDE);
	uint32_t x1 = (uint32_t)((uint64_t)p->width * (unsigned int)(gx + 1) / SIDE);
	uint32_t y0 = (uint32_t)((uint64_t)p->height * (unsigned int)gy / SIDE);
	uint32_t y1 = (uint32_t)((uint64_t)p->height * (unsigned int)(gy + 1) / SIDE);
	double sum = 0;

	if (x1 == x0)
		x1++;
	if (y1 == y0)
		y1++;
	for (uint32_t y = y0; y < y1; y++)
		for (uint32_t x = x0; x < x1; x++)
			sum += grey_at(p, x, y);
	return sum / ((double)(x1 - x0) * (y1 - y0));
}

static int double_cmp(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * The signs of the low frequencies of the discrete cosine transform against their median (Zauner
 * 2010, "pHash"). The mean is not among them, so that brightness does not count.
 */
uint64_t look_phash(const struct picture *p)
{
	double grey[SIDE][SIDE], rows[SIDE][LOW], low[LOW * LOW], sorted[LOW * LOW], median;
	uint64_t hash = 0;

	for (int y = 0; y < SIDE; y++)
		for (int x = 0; x < SIDE; x++)
			grey[y][x] = grey_mean(p, x, y);
	for (int y = 0; y < SIDE; y++) {
		for (int u = 0; u < LOW; u++) {
			rows[y][u] = 0;
			for (int x = 0; x < SIDE; x++)
				rows[y][u] += grey[y][x] * cos(M_PI / SIDE * (x + 0.5) * (u + 1));
		}
	}
	for (int v = 0; v < LOW; v++) {
		for (int u = 0; u < LOW; u++) {
			double sum = 0;

			for (int y = 0; y < SIDE; y++)
				sum += rows[y][u] * cos(M_PI / SIDE * (y + 0.5) * (v + 1));
			low[v * LOW + u] = sum;
		}
	}
	memcpy(sorted, low, sizeof(sorted));
	qsort(sorted, LOW * LOW, sizeof(sorted[0]), double_cmp);
	median = (sorted[LOW * LOW / 2 - 1] + sorted[LOW * LOW / 2]) / 2;
	for (int i = 0; i < LOW * LOW; i++)
		hash |= (uint64_t)(low[i] > median) << i;
	return hash;
}

/* ---- colours ----------------------------------------------------------------------------------
 */

struct bin {
	uint32_t n;
	uint64_t r, g, b;
};

static int bin_cmp(const void *a, const void *b)
{
	const struct bin *x = a, *y = b;

	return x->n < y->n ? 1 : x->n > y->n ? -1 : 0;
}

static int colour_distance(const struct look_colour *a, const struct look_colour *b)
{
	return abs(a->r - b->r) + abs(a->g - b->g) + abs(a->b - b->b);
}

int look_colours(const struct picture *p, struct look_colour out[LOOK_COLOURS])
{
	static struct bin bins[BINS];
	size_t pixels = (size_t)p->width * p->height;
	int n = 0;

	memset(bins, 0, sizeof(bins));
	for (size_t i = 0; i < pixels; i++) {
		const uint8_t *c = p->rgb + i * 3;
		struct bin *bin = &bins[c[0] >> 5 << 6 | c[1] >> 5 << 3 | c[2] >> 5];

		bin->n++;
		bin->r += c[0];
		bin->g += c[1];
		bin->b += c[2];
	}
	qsort(bins, BINS, sizeof(bins[0]), bin_cmp);
	for (int i = 0; i < BINS && bins[i].n > 0; i++) {
		struct look_colour c = {
			(uint8_t)(bins[i].r / bins[i].n), (uint8_t)(bins[i].g / bins[i].n),
			(uint8_t)(bins[i].b / bins[i].n), (double)bins[i].n / (double)pixels};
		int j = 0;

		while (j < n && colour_distance(&out[j], &c) >= NEAR)
			j++;
		if (j < n)
			out[j].share += c.share;
		else if (n < LOOK_COLOURS && c.share >= SHARE_MIN)
			out[n++] = c;
	}
	return n;
}

bool look_like_text(const struct picture *p)
{
	uint32_t levels[16] = {0}, most = 0;
	uint64_t edges = 0, pixels = 0;

	for (uint32_t y = 1; y < p->height; y++) {
		for (uint32_t x = 1; x < p->width; x++) {
			uint8_t g = grey_at(p, x, y);

			levels[g >> 4]++;
			edges += abs(g - grey_at(p, x - 1, y)) > 60 ||
				 abs(g - grey_at(p, x, y - 1)) > 60;
			pixels++;
		}
	}
	for (int i = 0; i < 16; i++)
		most = levels[i] > most ? levels[i] : most;
	/* a ground of more than a third; letters are edges on a hundredth to a third */
	return pixels > 0 && (uint64_t)most * 3 > pixels && edges * 150 > pixels &&
	       edges * 3 < pixels;
}

int look_upright(struct picture *p, int orientation)
{
	bool swap = orientation >= 5;
	uint32_t width = swap ? p->height : p->width, height = swap ? p->width : p->height;
	uint8_t *rgb;

	if (orientation <= 1)
		return 0;
	rgb = malloc((size_t)width * height * 3);
	if (rgb == NULL)
		return -ENOMEM;
	for (uint32_t y = 0; y < height; y++) {
		for (uint32_t x = 0; x < width; x++) {
			/* where this pixel is in the picture as it lies */
			uint32_t fx = swap ? y : x, fy = swap ? x : y;

			if (orientation == 2 || orientation == 3 || orientation == 7 ||
			    orientation == 8)
				fx = p->width - 1 - fx;
			if (orientation == 3 || orientation == 4 || orientation == 6 ||
			    orientation == 7)
				fy = p->height - 1 - fy;
			memcpy(rgb + ((size_t)y * width + x) * 3,
			       p->rgb + ((size_t)fy * p->width + fx) * 3, 3);
		}
	}
	free(p->rgb);
	*p = (struct picture){width, height, rgb};
	return 0;
}
