/*
 * libexif behind one file. The block is looked for in the head of the file, wherever its kind of
 * picture keeps it: JPEG, PNG, WebP, HEIF, TIFF.
 */
#include "config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libexif/exif-data.h>

#include "tagger/worker/exif.h"

#include "banned.h"

#define BLOCK_MAX (256u << 10)
#define TEXT_MAX  256u

static const unsigned char mark[6] = "Exif\0";

/* Where the TIFF structure begins; NULL if there is none. */
static const uint8_t *tiff_find(const struct input *in, size_t *len)
{
	static const struct {
		const char *bytes;
		size_t len;
	} before[] = {{"Exif\0\0", 6}, {"eXIf", 4}, {"EXIF", 4}};
	const uint8_t *at = NULL, *end = in->head + in->head_len;

	if (in->head_len > 8 &&
	    (memcmp(in->head, "II*\0", 4) == 0 || memcmp(in->head, "MM\0*", 4) == 0))
		at = in->head;
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]) && at == NULL; i++) {
		at = memmem(in->head, in->head_len, before[i].bytes, before[i].len);
		if (at == NULL)
			continue;
		at += before[i].len;
		/* WebP has the length between */
		if (i == 2)
			at += 4;
		if (end - at < 8 || (memcmp(at, "II*\0", 4) != 0 && memcmp(at, "MM\0*", 4) != 0))
			at = NULL;
	}
	if (at == NULL)
		return NULL;
	*len = (size_t)(end - at) < BLOCK_MAX ? (size_t)(end - at) : BLOCK_MAX;
	return at;
}

static ExifData *exif_open(const struct input *in)
{
	size_t len;
	const uint8_t *tiff = tiff_find(in, &len);
	ExifData *data = NULL;
	uint8_t *block;

	if (tiff == NULL)
		return NULL;
	/* libexif wants the mark before it */
	block = malloc(sizeof(mark) + len);
	if (block == NULL)
		return NULL;
	memcpy(block, mark, sizeof(mark));
	memcpy(block + sizeof(mark), tiff, len);
	if (sizeof(mark) + len <= UINT32_MAX)
		data = exif_data_new_from_data(block, (unsigned int)(sizeof(mark) + len));
	free(block);
	return data;
}

static ExifEntry *entry_get(ExifData *data, ExifIfd ifd, ExifTag tag)
{
	ExifContent *content = data->ifd[ifd];

	return content != NULL ? exif_content_get_entry(content, tag) : NULL;
}

/* Text of an entry, trimmed by out_fact_text(); "" if there is none. */
static void entry_text(ExifData *data, ExifIfd ifd, ExifTag tag, char *buf)
{
	ExifEntry *e = entry_get(data, ifd, tag);

	buf[0] = '\0';
	if (e == NULL || e->format != EXIF_FORMAT_ASCII || e->data == NULL)
		return;
	exif_entry_get_value(e, buf, TEXT_MAX);
}

static void camera_fact(struct work *w, ExifData *data)
{
	char make[TEXT_MAX], model[TEXT_MAX], both[2 * TEXT_MAX + 2];

	entry_text(data, EXIF_IFD_0, EXIF_TAG_MAKE, make);
	entry_text(data, EXIF_IFD_0, EXIF_TAG_MODEL, model);
	make[strcspn(make, " ")] = '\0';
	/* "Canon Canon EOS 5D" says it twice */
	if (make[0] == '\0' || strncasecmp(make, model, strlen(make)) == 0)
		snprintf(both, sizeof(both), "%s", model);
	else
		snprintf(both, sizeof(both), "%s %s", make, model);
	out_fact_text(w->out, EXTRACT_FACT_CAMERA, both, strlen(both));
}

static void date_fact(struct work *w, ExifData *data)
{
	char text[TEXT_MAX];
	struct tm tm = {0};

	entry_text(data, EXIF_IFD_EXIF, EXIF_TAG_DATE_TIME_ORIGINAL, text);
	if (text[0] == '\0')
		entry_text(data, EXIF_IFD_0, EXIF_TAG_DATE_TIME, text);
	/* the time of the place, as cameras know no other */
	if (strptime(text, "%Y:%m:%d %H:%M:%S", &tm) != NULL && tm.tm_year > 0)
		out_fact_number(w->out, EXTRACT_FACT_DATE, (double)timegm(&tm));
}

/* Degrees from three rationals and N, S, E or W; NAN if they are not there. */
static double degrees(ExifData *data, ExifTag value, ExifTag side, char negative)
{
	ExifEntry *e = entry_get(data, EXIF_IFD_GPS, value),
		  *s = entry_get(data, EXIF_IFD_GPS, side);
	ExifByteOrder order = exif_data_get_byte_order(data);
	double sum = 0, unit = 1;

	if (e == NULL || s == NULL || e->format != EXIF_FORMAT_RATIONAL || e->components != 3 ||
	    e->size < 3 * exif_format_get_size(EXIF_FORMAT_RATIONAL) || s->size < 1)
		return NAN;
	for (unsigned int i = 0; i < 3; i++, unit *= 60) {
		ExifRational r = exif_get_rational(e->data + i * 8, order);

		if (r.denominator == 0)
			return NAN;
		sum += (double)r.numerator / r.denominator / unit;
	}
	return s->data[0] == negative ? -sum : sum;
}

static void place_fact(struct work *w, ExifData *data)
{
	double latitude = degrees(data, (ExifTag)EXIF_TAG_GPS_LATITUDE,
				  (ExifTag)EXIF_TAG_GPS_LATITUDE_REF, 'S');
	double longitude = degrees(data, (ExifTag)EXIF_TAG_GPS_LONGITUDE,
				   (ExifTag)EXIF_TAG_GPS_LONGITUDE_REF, 'W');

	if (!(fabs(latitude) <= 90) || !(fabs(longitude) <= 180))
		return;
	out_fact_number(w->out, EXTRACT_FACT_LATITUDE, latitude);
	out_fact_number(w->out, EXTRACT_FACT_LONGITUDE, longitude);
}

static int orientation(ExifData *data)
{
	ExifEntry *e = entry_get(data, EXIF_IFD_0, EXIF_TAG_ORIENTATION);
	int o;

	if (e == NULL || e->format != EXIF_FORMAT_SHORT || e->size < 2)
		return 1;
	o = exif_get_short(e->data, exif_data_get_byte_order(data));
	return o >= 1 && o <= 8 ? o : 1;
}

int exif_orientation(const struct input *in)
{
	ExifData *data = exif_open(in);
	int o = data != NULL ? orientation(data) : 1;

	if (data != NULL)
		exif_data_unref(data);
	return o;
}

int exif_read(struct work *w)
{
	ExifData *data = exif_open(w->in);
	char text[TEXT_MAX];
	int o;

	if (data == NULL)
		return 1;
	camera_fact(w, data);
	entry_text(data, EXIF_IFD_EXIF, EXIF_TAG_LENS_MODEL, text);
	out_fact_text(w->out, EXTRACT_FACT_LENS, text, strlen(text));
	entry_text(data, EXIF_IFD_0, EXIF_TAG_ARTIST, text);
	out_fact_text(w->out, EXTRACT_FACT_AUTHOR, text, strlen(text));
	entry_text(data, EXIF_IFD_0, EXIF_TAG_IMAGE_DESCRIPTION, text);
	words_feed(w->words, text, strlen(text), ZONE_TITLE);
	out_fact_text(w->out, EXTRACT_FACT_TITLE, text, strlen(text));
	date_fact(w, data);
	place_fact(w, data);
	o = orientation(data);
	out_fact_number(w->out, EXTRACT_FACT_ORIENTATION, o);
	exif_data_unref(data);
	return o;
}
