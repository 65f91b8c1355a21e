/* Headings, links, comments and definitions in text that people write by hand. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tagger/worker/mark.h"

#include "tap.h"

static char said[4096];
static size_t n_said;

static void say(void *arg, enum mark_part part, const char *text, size_t len)
{
	static const char letters[] = "TH`LtakdCD";
	size_t left = sizeof(said) - n_said;
	int n = snprintf(said + n_said, left, "%c<%.*s>", letters[part], (int)len, text);

	if (n > 0 && (size_t)n < left)
		n_said += (size_t)n;
}

static const char *markdown(const char *text)
{
	n_said = 0;
	said[0] = '\0';
	mark_markdown(text, strlen(text), say, NULL);
	return said;
}

static const char *source(const char *text, enum mark_comments comments)
{
	n_said = 0;
	said[0] = '\0';
	mark_source(text, strlen(text), comments, say, NULL);
	return said;
}

static const char *plain(const char *text)
{
	n_said = 0;
	said[0] = '\0';
	mark_plain(text, strlen(text), say, NULL);
	return said;
}

static void test_markdown(void)
{
	is_str(markdown("# One\ntext\n"), "H<One>T<text>", "a heading");
	is_str(markdown("## Two ##\r\n#no\r\n"), "H<Two>T<#no>", "with marks behind, and none");
	is_str(markdown("Title\n=====\nbody"), "H<Title>T<body>", "an underlined one");
	is_str(markdown("a [b](c.md) d"), "L<c.md>T<a [b>T< d>", "a link, whose target is no text");
	is_str(markdown("![i](p.png \"t\")"), "L<p.png>T<![i>", "a picture with a title");
	is_str(markdown("<http://x/y> <b>"), "L<http://x/y>T<<http://x/y> <b>>",
	       "an address, and no tag");
	is_str(markdown("[id]: t.md 'x'\n"), "L<t.md>", "a definition");
	is_str(markdown(".. _id: t.rst\n.. image:: i.png\n"), "L<t.rst>L<i.png>",
	       "those of reStructuredText");
	is_str(markdown("see `text <t.rst>`_ x"), "L<t.rst>T<see `text <t.rst>`_ x>",
	       "and its links");
	is_str(markdown("```\n# code\n```\nx"), "`<# code>T<x>", "code is no heading");
	is_str(markdown("---\ntitle: \"T\"\ntags:\n- a\n- b\n---\nx"), "t<T>k<a>k<b>T<x>",
	       "front matter");
	is_str(markdown("---\nno end"), "T<--->T<no end>", "front matter without an end is text");
	is_str(markdown("a ]( b"), "T<a ]( b>", "a link without an end is text");
	is_str(markdown(""), "", "nothing is nothing");
}

static void test_plain(void)
{
	is_str(plain("a\nTitle\n-----\nb\n"), "T<a\n>H<Title>T<b\n>",
	       "underlines make headings of plain text");
	is_str(plain("a\n---\n"), "H<a>", "at its end too");
	is_str(plain("----\n----\n"), "H<---->", "a rule under a rule is survived");
}

static void test_source(void)
{
	is_str(source("/* c */ int x; // d\n", MARK_COMMENTS_C),
	       "C</* c */>`< int x; >C<// d>`<\n>", "comments of C");
	is_str(source("s = \"/* no */\";", MARK_COMMENTS_C), "`<s = \"/* no */\";>",
	       "are none in strings");
	is_str(source("static int work_do(int a)\n{\n", MARK_COMMENTS_C),
	       "D<work_do>`<static int work_do(int a)\n{\n>", "a function of C is defined");
	is_str(source("int work_do(int a);\n", MARK_COMMENTS_C), "`<int work_do(int a);\n>",
	       "a prototype is not");
	is_str(source("#include \"a.h\"\n", MARK_COMMENTS_C), "L<a.h>`<#include \"a.h\"\n>",
	       "an include is a link");
	is_str(source("# c\ndef run(x):\n", MARK_COMMENTS_HASH), "C<# c>D<run>`<\ndef run(x):\n>",
	       "Python");
	is_str(source("pub fn go_now() {", MARK_COMMENTS_C), "D<go_now>`<pub fn go_now() {>",
	       "Rust");
	is_str(source("/* no end", MARK_COMMENTS_C), "C</* no end>", "a comment without an end");
	is_str(source("'", MARK_COMMENTS_C), "`<'>", "a string without an end");
	is_str(source("\"\\", MARK_COMMENTS_C), "`<\"\\>", "and one that ends in an escape");
}

int main(void)
{
	test_markdown();
	test_plain();
	test_source();
	return done_testing();
}
