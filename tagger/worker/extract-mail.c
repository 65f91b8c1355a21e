/*
 * Mail, by GMime: one message, or the first of an mbox. Who wrote to whom, when, in answer to what;
 * the text; the names of what is attached.
 */
#include "config.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gmime/gmime.h>

#include "tagger/worker/page.h"
#include "tagger/worker/segment.h"

#include "banned.h"

#define MAIL_BYTES_MAX (32 << 20) /* that are looked at */
#define PART_BYTES_MAX (1u << 20)
#define MESSAGES_MAX   256u
#define PARTS_MAX      64u

struct mail {
	struct work *w;
	unsigned int parts;
	bool plain; /* there was text: its twin in HTML says nothing new */
};

static void addresses(struct work *w, InternetAddressList *list, enum extract_fact_key key)
{
	int n = list != NULL ? internet_address_list_length(list) : 0;

	for (int i = 0; i < n && i < 8; i++) {
		InternetAddress *a = internet_address_list_get_address(list, i);
		const char *name = internet_address_get_name(a);
		const char *address =
			INTERNET_ADDRESS_IS_MAILBOX(a)
				? internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(a))
				: NULL;

		if (name == NULL || *name == '\0')
			name = address;
		if (name == NULL)
			continue;
		out_fact_text(w->out, key, name, strlen(name));
		if (key == EXTRACT_FACT_FROM)
			out_fact_text(w->out, EXTRACT_FACT_AUTHOR, name, strlen(name));
	}
}

static void header_fact(struct work *w, GMimeMessage *m, const char *header,
			enum extract_fact_key key)
{
	const char *value = g_mime_object_get_header(GMIME_OBJECT(m), header);

	if (value != NULL)
		out_fact_text(w->out, key, value, strlen(value));
}

static void mail_facts(struct work *w, GMimeMessage *m)
{
	const char *subject = g_mime_message_get_subject(m);
	const char *id = g_mime_message_get_message_id(m);
	GDateTime *date = g_mime_message_get_date(m);

	if (subject != NULL)
		out_fact_text(w->out, EXTRACT_FACT_TITLE, subject, strlen(subject));
	if (date != NULL)
		out_fact_number(w->out, EXTRACT_FACT_DATE, (double)g_date_time_to_unix(date));
	addresses(w, g_mime_message_get_from(m), EXTRACT_FACT_FROM);
	addresses(w, g_mime_message_get_to(m), EXTRACT_FACT_TO);
	if (id != NULL)
		out_fact_text(w->out, EXTRACT_FACT_MESSAGE_ID, id, strlen(id));
	header_fact(w, m, "In-Reply-To", EXTRACT_FACT_IN_REPLY_TO);
	header_fact(w, m, "Keywords", EXTRACT_FACT_SUBJECT);
}

/* The decoded bytes of a part, as they are. */
static GByteArray *part_bytes(GMimePart *part)
{
	GMimeDataWrapper *content = g_mime_part_get_content(part);
	GMimeStream *stream = content != NULL ? g_mime_stream_mem_new() : NULL;
	GByteArray *bytes = g_byte_array_new();

	if (stream == NULL)
		return bytes;
	g_mime_stream_mem_set_byte_array(GMIME_STREAM_MEM(stream), bytes);
	g_mime_stream_mem_set_owner(GMIME_STREAM_MEM(stream), FALSE);
	g_mime_data_wrapper_write_to_stream(content, stream);
	g_object_unref(stream);
	return bytes;
}

static void text_part(struct mail *mail, GMimePart *part, GMimeContentType *type)
{
	const char *charset = g_mime_content_type_get_parameter(type, "charset");
	bool html = g_mime_content_type_is_type(type, "text", "html");
	GByteArray *bytes;
	const char *text;
	char *own = NULL;
	size_t len;

	if (html && mail->plain)
		return;
	bytes = part_bytes(part);
	text = (const char *)bytes->data;
	len = bytes->len < PART_BYTES_MAX ? bytes->len : PART_BYTES_MAX;
	if (len > 0 && !segment_utf8_valid(text, len, true) &&
	    segment_to_utf8(charset, text, len, &own, &len) == 0)
		text = own;
	if (len > 0 && html) {
		page_read(mail->w, text, len, "utf-8", false);
	} else if (len > 0) {
		work_text(mail->w, text, len, ZONE_BODY);
		mail->plain = true;
	}
	free(own);
	g_byte_array_free(bytes, TRUE);
}

static void part_take(GMimeObject *parent, GMimeObject *object, gpointer arg)
{
	struct mail *mail = arg;
	GMimeContentType *type = g_mime_object_get_content_type(object);
	const char *name;

	if (++mail->parts > PARTS_MAX || words_full(mail->w->words) || !GMIME_IS_PART(object))
		return;
	name = g_mime_part_get_filename(GMIME_PART(object));
	if (name != NULL)
		words_feed(mail->w->words, name, strlen(name), ZONE_NAMES);
	else if (type != NULL && g_mime_content_type_is_type(type, "text", "*"))
		text_part(mail, GMIME_PART(object), type);
}

static void message_take(struct work *w, GMimeMessage *m, bool first)
{
	struct mail mail = {.w = w};
	const char *subject = g_mime_message_get_subject(m);

	if (first)
		mail_facts(w, m);
	if (subject != NULL)
		words_feed(w->words, subject, strlen(subject), first ? ZONE_TITLE : ZONE_HEADING);
	g_mime_message_foreach(m, part_take, &mail);
}

void extract_mail(struct work *w)
{
	bool mbox = strcmp(w->sniffed->mime, "application/mbox") == 0 ||
		    (w->in->head_len > 5 && memcmp(w->in->head, "From ", 5) == 0);
	int fd = input_fd(w->in);
	GMimeStream *stream;
	GMimeParser *parser;
	unsigned int n = 0;

	if (fd >= 0)
		fd = dup(fd);
	if (fd < 0) {
		out_fail(w->out, "the mail cannot be unpacked");
		return;
	}
	stream = g_mime_stream_fs_new_with_bounds(fd, 0, MAIL_BYTES_MAX);
	parser = g_mime_parser_new_with_stream(stream);
	g_mime_parser_set_format(parser, mbox ? GMIME_FORMAT_MBOX : GMIME_FORMAT_MESSAGE);
	do {
		GMimeMessage *m = g_mime_parser_construct_message(parser, NULL);

		if (m == NULL)
			break;
		message_take(w, m, n == 0);
		n++;
		g_object_unref(m);
	} while (mbox && n < MESSAGES_MAX && !words_full(w->words) && !g_mime_parser_eos(parser));
	if (n == 0)
		out_fail(w->out, "there is no message in it");
	else if (mbox)
		out_fact_number(w->out, EXTRACT_FACT_ENTRIES, n);
	g_object_unref(parser);
	g_object_unref(stream);
}

int mail_prepare(void)
{
	g_mime_init();
	return 0;
}
