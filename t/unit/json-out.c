/* What json-out.c writes is what jansson reads. */
#include "config.h"

#include "json-out.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "banned.h"

static void text_is(struct json_out *o, const char *want, const char *name)
{
	char *text = malloc(o->len + 1);

	assert(text != NULL);
	memcpy(text, o->at, o->len);
	text[o->len] = '\0';
	is_str(text, want, name);
	free(text);
	free(o->at);
	*o = (struct json_out){.at = NULL};
}

static void test_shape(void)
{
	struct json_out o = {.at = NULL};

	json_out_begin(&o, NULL, '{');
	json_out_begin(&o, "empty", '[');
	json_out_end(&o, ']');
	json_out_begin(&o, "list", '[');
	json_out_begin(&o, NULL, '{');
	json_out_int(&o, "a", 1);
	json_out_end(&o, '}');
	json_out_begin(&o, NULL, '{');
	json_out_end(&o, '}');
	json_out_int(&o, NULL, 2);
	json_out_end(&o, ']');
	json_out_text(&o, "t", "x");
	json_out_value(&o, "v", json_pack("[b, n]", 1));
	json_out_end(&o, '}');
	text_is(&o, "{\"empty\":[],\"list\":[{\"a\":1},{},2],\"t\":\"x\",\"v\":[true,null]}",
		"commas are where they belong");
}

static void test_numbers(void)
{
	struct json_out o = {.at = NULL};

	json_out_begin(&o, NULL, '[');
	json_out_int(&o, NULL, 0);
	json_out_int(&o, NULL, -1);
	json_out_int(&o, NULL, 10);
	json_out_int(&o, NULL, INT64_MAX);
	json_out_int(&o, NULL, INT64_MIN);
	json_out_end(&o, ']');
	text_is(&o, "[0,-1,10,9223372036854775807,-9223372036854775808]",
		"numbers of all lengths, both ends too");
}

/* Every byte, in the middle and alone, and what is cut in the middle of a character. */
static void test_texts(void)
{
	static const char *const texts[] = {"",
					    "plain",
					    "\"quoted\" \\ and / it",
					    "line\nend",
					    "\x01\x1f\x7f",
					    "M\xc3\xbcnchen \xe4\xb8\xad",
					    "cut \xe4\xb8"};
	unsigned wrong = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct json_out o = {.at = NULL};
		json_t *back;

		json_out_begin(&o, NULL, '{');
		json_out_text(&o, "t", texts[i]);
		json_out_end(&o, '}');
		back = json_out_parse(&o);
		is_str(json_string_value(json_object_get(back, "t")), i == 6 ? "cut ??" : texts[i],
		       "a text comes back as it was, or repaired");
		json_decref(back);
	}
	for (int c = 1; c < 256; c++) {
		struct json_out o = {.at = NULL};
		const char text[] = {'a', (char)c, 'b', '\0'};
		json_t *back;
		const char *got;

		json_out_text(&o, NULL, text);
		back = json_out_parse(&o);
		got = json_string_value(back);
		wrong += got == NULL || strcmp(got, c < 0x80 ? text : "a?b") != 0;
		json_decref(back);
	}
	is_int(wrong, 0, "so does every byte");
}

static void test_growth(void)
{
	struct json_out o = {.at = NULL};
	json_t *back, *big = json_array();

	for (int i = 0; i < 5000; i++)
		json_array_append_new(big, json_integer(i));
	json_out_begin(&o, NULL, '[');
	for (int i = 0; i < 20000; i++)
		json_out_int(&o, NULL, i);
	json_out_value(&o, NULL, big);
	json_out_end(&o, ']');
	back = json_out_parse(&o);
	is_int(json_array_size(back), 20001, "what is long is whole");
	is_int(json_integer_value(json_array_get(back, 19999)), 19999, "to its end");
	is_int(json_array_size(json_array_get(back, 20000)), 5000, "and a long value in it");
	json_decref(back);
}

int main(void)
{
	test_shape();
	test_numbers();
	test_texts();
	test_growth();
	return done_testing();
}
