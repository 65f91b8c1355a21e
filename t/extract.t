#!/usr/bin/perl
# What the extractors find in real files of each kind that other programs made just now, and that broken,
# huge and hostile files of each kind are recorded as failed, or read as far as they are whole.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Encode qw(encode);
use JSON::PP ();
use Test::More;
use Weft;

binmode(Test::More->builder->$_, ':utf8') for qw(output failure_output todo_output);
my $extract = build_dir() . '/t/tools/extract';
my $workers = build_dir() . '/tagger/worker';
skip_all('t/tools/extract is not built') if !-x $extract || !-x "$workers/extract-text";
my $dir = temp_dir();

# Several files at once, by name.
sub extract
{
	my ($args, @files) = @_;
	my $r = run({ timeout => 120 }, $extract, '--workers', $workers, @$args, map { "$dir/$_" } @files);
	my %got = map { my $g = JSON::PP::decode_json($_); $g->{file} =~ m{([^/]+)$}; ($1 => $g) } split(/\n/, $r->{out});
	$got{stats} = $r->{err};
	return \%got;
}

sub stems { my ($g) = @_; return map { $_->{stem} } @{ $g->{tags} } }
sub has { my ($g, @stems) = @_; my %s = map { $_ => 1 } stems($g); return join(' ', grep { !$s{$_} } @stems) }
sub text { my ($name, $text) = @_; spew("$dir/$name", encode('UTF-8', $text)); return $name }
sub make { my ($name, @argv) = @_; run_ok({ dir => $dir, timeout => 120 }, @argv); return $name }

# ---- text --------------------------------------------------------------------

my $bees = <<'END';
Keeping honey bees
==================

A hive of honey bees has one queen. The queen lays eggs; worker bees gather nectar and pollen.
Beekeepers inspect each hive in spring. Varroa mites weaken honey bees, and beekeepers treat against
varroa mites in autumn. Nectar becomes honey in the hive. Write to keeper@example.org or see
https://bees.example.org/varroa for more about the 123456 hives.
END
my $markdown = <<'END';
---
title: "Sourdough for beginners"
author: Ada Baker
tags: [bread, fermentation]
date: 2023-04-05
---
# Sourdough

A [starter](starter.md) of wild yeast raises the dough. Feed the starter daily with rye flour.

## Baking steel

![crumb](img/crumb.jpg) Preheat the baking steel. See <https://bread.example.org/steel> and [ref].

[ref]: ../notes/oven.md "Ovens"

```
int not_a_heading;
```
END
my $chinese = <<'END';
# 分布式存储系统

分布式存储系统把数据分散保存在许多服务器上。纠删码让分布式存储系统在服务器损坏时恢复数据。
纠删码比副本节省空间。图数据库保存知识图谱，知识图谱连接文件和标签。
END
my $code = <<'END';
/* Balances the load of an elevator between floors. */
#include "elevator.h"
#include <stdio.h>

static int elevator_dispatch(struct elevator *lift, int floor)
{
	/* the nearest elevator goes */
	int queue_length = elevator_queue(lift, "not a comment /*");
	return queue_length > 0 ? floor : 0;
}
END
my $german = "Die Brücke über den Fluss ist alt, und die Brücke wird nicht mehr genutzt. Der Fluss und die " .
    "Brücke sind auch für die Stadt von Wert, aber nicht für alle.\n";
text('bees.txt', $bees);
text('bread.md', $markdown);
text('chinese.md', $chinese);
text('lift.c', $code);
text('german.txt', $german);
spew("$dir/gbk.txt", encode('GBK', $chinese));
spew("$dir/latin1.txt", encode('ISO-8859-1', $german x 3));
spew("$dir/utf16.txt", encode('UTF-16', $bees));
spew("$dir/empty.txt", '');
spew("$dir/noise.bin", join('', map { chr(($_ * 7919 + ($_ >> 3)) % 251) } 1 .. 5000));
text('wrong.md', "# Wrong\n[no end](target and `<no > end`_ \n[x]:\n```\n" . "#" x 3000);
for my $pack (['gz', qw(gzip -k)], ['xz', qw(xz -k)], ['bz2', qw(bzip2 -k)], ['zst', qw(zstd -q -k)]) {
	my ($ending, @argv) = @$pack;
	make("bees.txt.$ending", @argv, 'bees.txt') if have($argv[0]);
}
my @packed = grep { -f "$dir/bees.txt.$_" } qw(gz xz bz2 zst);
text("long.txt", $bees . join("", map { "Hive number " . $_ * 7919 % 10007 . " is calm.\n" } 1 .. 20000));
make("long.txt.gz", qw(gzip long.txt));
spew("$dir/cut.txt.gz", substr(slurp("$dir/long.txt.gz"), 0, 60000));
spew("$dir/bad.gz", "\x1f\x8b\x08\x00" . 'x' x 300);
my $got = extract([], qw(bees.txt bread.md chinese.md lift.c german.txt gbk.txt latin1.txt utf16.txt empty.txt
    noise.bin wrong.md cut.txt.gz bad.gz), map { "bees.txt.$_" } @packed);

my $g = $got->{'bees.txt'};
is($g->{kind}, 'text', 'plain text is text');
is(has($g, 'honey bee', 'varroa mite', 'hive', 'beekeep', 'nectar', 'queen'), '', 'phrases and words are found');
is(has($g, 'the', 'of', 'one', '123456', 'keeper@example.org', 'https', 'bees.example.org'),
    'the of one 123456 keeper@example.org https bees.example.org', 'and what is no word is not');
ok((grep { $_->{stem} eq "honey bee" } @{ $g->{tags} }[0 .. 2]), "the phrase of the heading is among the first");
is($g->{facts}{language}, 'en', 'English is known');
like($g->{simhash}, qr/^[0-9a-f]{16}$/, 'there is a fingerprint');
like($g->{excerpt}, qr/^Keeping honey bees A hive/, 'the excerpt is the beginning');
for my $ending (@packed) {
	my $p = $got->{"bees.txt.$ending"};
	is($p->{simhash}, $g->{simhash}, "the same text compressed is the same ($ending)");
	ok($p->{facts}{compression}, "and its compression is told ($p->{facts}{compression})");
}
is($got->{'cut.txt.gz'}{why}, undef, 'the front of a truncated file is read');
is(has($got->{'cut.txt.gz'}, 'hive'), '', 'and says what it says');
is($got->{'bad.gz'}{why}, 'the compressed data is broken', 'nonsense after the right first bytes fails');

$g = $got->{'bread.md'};
is($g->{mime}, 'text/markdown', 'Markdown is told from other text');
is($g->{facts}{title}, 'Sourdough for beginners', 'its front matter gives the title');
is($g->{facts}{author}, 'Ada Baker', 'the author');
is($g->{facts}{date}, 1680652800, 'the date');
is(has($g, qw(bread ferment starter sourdough), 'bake steel'), '', 'keywords, headings, words');
is((grep { $_->{stem} eq 'ferment' } @{ $g->{tags} })[0]{source}, 'meta', 'keywords are the author\'s');
is_deeply([sort @{ $g->{links} }],
    [sort 'starter.md', 'img/crumb.jpg', 'https://bread.example.org/steel', '../notes/oven.md'], 'links are found');
is(has($g, 'oven.md'), 'oven.md', 'targets are no words');

for my $name ('chinese.md', 'gbk.txt') {
	$g = $got->{$name};
	is($g->{facts}{language}, 'zh', "$name is Chinese");
	my @missing = grep { my $w = $_; !grep { index($_, $w) >= 0 } stems($g) } qw(存储 服务器 图谱 数据);
	is("@missing", '', "words of $name are found");
	ok(!grep({ $_ eq '的' || $_ eq '和' } stems($g)), "and no particles in $name");
}
$g = $got->{'lift.c'};
is($g->{kind}, 'source', 'C is source code');
is(has($g, 'elevator_dispatch', 'elev'), '', 'what it defines and its words are found');
is(has($g, 'int', 'static', 'struct', 'return'), 'int static struct return', 'keywords are not');
is_deeply($g->{links}, ['elevator.h'], 'a header of its own is a link');
is($got->{'german.txt'}{facts}{language}, 'de', 'German is known');
is(has($got->{'german.txt'}, 'bruck'), '', 'and stemmed as German');
is(has($got->{'latin1.txt'}, 'bruck'), '', 'in ISO 8859-1 too');
is(has($got->{'utf16.txt'}, 'honey bee'), '', 'UTF-16 is read');
my $hash = $got->{"bees.txt"}{hash};
like($hash, qr/^[0-9a-f]{32}$/, "the content has a hash");
my $again = extract(["--known", $hash], qw(bees.txt bread.md));
ok($again->{"bees.txt"}{same} && !@{ $again->{"bees.txt"}{tags} }, "content that is known is not read again");
ok(!$again->{"bread.md"}{same}, "other content is");
is($got->{'empty.txt'}{kind}, 'empty', 'an empty file is empty');
is($got->{'noise.bin'}{kind}, 'unknown', 'noise is unknown');
is($got->{'noise.bin'}{why}, undef, 'which is no failure');
is($got->{'wrong.md'}{why}, undef, 'broken Markdown is text');

# ---- pages, documents, mail, archives ------------------------------------------

my $page = <<'END';
<!DOCTYPE html><html><head><title>Tide tables of Brest</title>
<meta name="keywords" content="harbour, navigation"><meta name="author" content="Yann Le Goff">
<script>var hidden_word = 1;</script></head><body><nav>menu menu</nav>
<h1>Spring tides</h1><p>The spr<b>ing</b> tides follow the full moon. <a href="neap.html#low">Neap tides</a>
are lower.</p><p>Spring tides flood the quay.</p></body></html>
END
text('tide.html', $page);
text('deep.html', '<div>' x 100000 . 'deep water');
spew("$dir/gbk.html", encode('GBK', "<html><head><meta charset=\"gbk\"><title>知识图谱</title></head><body>" .
    "<p>知识图谱连接文件。知识图谱连接标签。</p></body></html>"));
text('bomb.xml', '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">' .
    join('', map { my $p = chr(ord('a') + $_ - 1); my $n = chr(ord('a') + $_); "<!ENTITY $n \"" . "&$p;" x 10 . '">' } 1 .. 9)
    . '<!ENTITY x SYSTEM "file:///etc/passwd">]><a><title>Gauge</title>&j;&x; barometer barometer</a>');
text('mail.eml', <<'END');
From: Grace Hopper <grace@example.org>
To: Ada <ada@example.org>
Subject: =?UTF-8?B?5p2l6IeqIENvYm9s?= compiler
Date: Mon, 05 Jun 2023 10:00:00 +0200
Message-ID: <m2@example.org>
In-Reply-To: <m1@example.org>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain; charset=ISO-8859-1
Content-Transfer-Encoding: quoted-printable

The compiler translates d=E9j=E0 vu into machine code. The compiler is fast.
--b
Content-Type: application/octet-stream; name="punchcards.zip"
Content-Disposition: attachment; filename="punchcards.zip"
Content-Transfer-Encoding: base64

AAAA
--b--
END
mkdir "$dir/$_" for 'odt', 'docx', 'docx/word', 'docx/docProps', 'epub', 'epub/META-INF', 'epub/OPS';
text('odt/mimetype', 'application/vnd.oasis.opendocument.text');
text('odt/content.xml', '<?xml version="1.0"?><office:document-content xmlns:office="o" xmlns:text="t">' .
    '<office:body><text:h>Glacier survey</text:h><text:p>The glacier lost ice. The glacier moves.</text:p>' .
    '</office:body></office:document-content>');
text('odt/meta.xml', '<?xml version="1.0"?><office:document-meta xmlns:office="o" xmlns:dc="d" xmlns:meta="m">' .
    '<office:meta><dc:title>Ice report</dc:title><dc:creator>Ingrid</dc:creator><meta:keyword>moraine</meta:keyword>' .
    '</office:meta></office:document-meta>');
text('docx/[Content_Types].xml', '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">' .
    '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>');
text('docx/word/document.xml', '<?xml version="1.0"?><w:document xmlns:w="w"><w:body><w:p><w:pPr><w:pStyle w:val="Heading1"/>' .
    '</w:pPr><w:r><w:t>Volcano watch</w:t></w:r></w:p><w:p><w:r><w:t>The vol</w:t></w:r><w:r><w:t>cano smokes. The volcano sleeps.' .
    '</w:t></w:r></w:p></w:body></w:document>');
text('docx/docProps/core.xml', '<?xml version="1.0"?><cp:coreProperties xmlns:cp="c" xmlns:dc="d" xmlns:dcterms="t">' .
    '<dc:title>Lava</dc:title><dc:creator>Pele</dc:creator><cp:keywords>magma</cp:keywords>' .
    '<dcterms:created>2022-01-02T03:04:05Z</dcterms:created></cp:coreProperties>');
text('epub/mimetype', 'application/epub+zip');
text('epub/META-INF/container.xml', '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>');
text('epub/OPS/book.opf', '<package><metadata xmlns:dc="d"><dc:title>The whale</dc:title><dc:creator>Herman</dc:creator>' .
    '</metadata><manifest><item href="c1.xhtml" media-type="application/xhtml+xml"/></manifest></package>');
text('epub/OPS/c1.xhtml', '<html><body><h1>Harpoon</h1><p>The whale dives. The harpoon misses the whale.</p></body></html>');
SKIP: {
	skip('zip is not installed', 1) if !have('zip');
	make('ice.odt', 'sh', '-c', 'cd odt && zip -Xq0 ../ice.odt mimetype && zip -qr ../ice.odt content.xml meta.xml');
	make('lava.docx', 'sh', '-c', 'cd docx && zip -q ../lava.docx "[Content_Types].xml" && zip -qr ../lava.docx word docProps');
	make('whale.epub', 'sh', '-c', 'cd epub && zip -q0 ../whale.epub mimetype && zip -qr ../whale.epub META-INF OPS');
	make('things.zip', qw(zip -qr things.zip bees.txt odt));
	# 64 MiB of nothing in 64 KiB
	make('bomb.odt', 'sh', '-c', 'mkdir bomb && truncate -s 64M bomb/content.xml && cp odt/mimetype bomb && cd bomb && ' .
	    'zip -Xq0 ../bomb.odt mimetype && zip -q1 ../bomb.odt content.xml');
	spew("$dir/cut.odt", substr(slurp("$dir/ice.odt"), 0, 400));
	$got = extract([], qw(ice.odt lava.docx whale.epub things.zip bomb.odt cut.odt));
	$g = $got->{'ice.odt'};
	is("$g->{kind} $g->{facts}{title} $g->{facts}{author}", 'document Ice report Ingrid', 'OpenDocument: facts');
	is(has($g, 'glacier', 'glacier survey', 'morain'), '', 'OpenDocument: words');
	$g = $got->{'lava.docx'};
	is("$g->{kind} $g->{facts}{title} $g->{facts}{author} $g->{facts}{date}", 'document Lava Pele 1641092645', 'Word: facts');
	is(has($g, 'volcano', 'volcano watch', 'magma'), '', 'Word: words, through runs');
	$g = $got->{'whale.epub'};
	is("$g->{kind} $g->{facts}{title} $g->{facts}{author}", 'document The whale Herman', 'EPUB: facts');
	is(has($g, 'whale', 'harpoon'), '', 'EPUB: words');
	$g = $got->{'things.zip'};
	is("$g->{kind} $g->{why}" // '', 'archive ', 'zip is an archive') if defined $g->{why};
	is(has($g, 'bee', 'mimetyp'), '', 'names inside an archive are found');
	ok(defined $got->{'bomb.odt'}{why}, 'a bomb of zip fails: ' . ($got->{'bomb.odt'}{why} // ''));
	ok(defined $got->{'cut.odt'}{why}, 'a truncated document fails: ' . ($got->{'cut.odt'}{why} // ''));
}
make('bees.tar.gz', qw(tar czf bees.tar.gz bees.txt bread.md lift.c));
make('zeros.gz', 'sh', '-c', 'head -c 100M /dev/zero | gzip -1 >zeros.gz');
my @doc = -x "$workers/extract-doc" ? ('mail.eml') : ();
if (@doc && have('mandoc')) {
	run_ok('sh', '-c', "mandoc -T pdf '" . src_dir() . "/man/nbdsrv.8' >'$dir/nbdsrv.pdf'");
	spew("$dir/cut.pdf", substr(slurp("$dir/nbdsrv.pdf"), 0, 3000));
	spew("$dir/bad.pdf", "%PDF-1.4\n" . "1 0 obj << /Kids [1 0 R] >> endobj\n" x 100);
	make('nbdsrv.pdf.gz', qw(gzip -k nbdsrv.pdf));
	push @doc, qw(nbdsrv.pdf cut.pdf bad.pdf nbdsrv.pdf.gz);
}
$got = extract([], qw(tide.html deep.html gbk.html bomb.xml bees.tar.gz zeros.gz), @doc);
$g = $got->{'tide.html'};
is("$g->{kind} $g->{facts}{title} $g->{facts}{author}", 'page Tide tables of Brest Yann Le Goff', 'HTML: facts');
is(has($g, "spring tide", 'harbour', 'navig'), '', 'HTML: words, through inline elements');
is(has($g, 'hidden_word', 'menu'), 'hidden_word menu', 'HTML: what is not shown is left out');
is_deeply($g->{links}, ['neap.html'], 'HTML: links');
is($got->{'deep.html'}{kind}, 'page', 'a hundred thousand elements deep is survived');
is($got->{'gbk.html'}{facts}{title}, '知识图谱', 'a page says its own encoding');
$g = $got->{'bomb.xml'};
is(has($g, 'baromet'), '', 'a bomb of entities is read without them');
unlike($g->{excerpt} // '', qr/root:|aaaaa/, 'and no file is fetched');
is(has($got->{'bees.tar.gz'}, 'bread', 'bee'), '', 'names inside a compressed tar are found');
is($got->{'zeros.gz'}{kind}, 'unknown', 'a bomb of gzip is looked at by its beginning');
SKIP: {
	skip('extract-doc is not built', 1) if !@doc;
	$g = $got->{'mail.eml'};
	is($g->{kind}, 'mail', 'mail is mail');
	is(join('|', map { $_ // '' } @{ $g->{facts} }{qw(title from to date message-id in-reply-to)}),
	    '来自 Cobol compiler|Grace Hopper|Ada|1685952000|m2@example.org|<m1@example.org>', 'mail: facts');
	is(has($g, 'compil', 'punchcard'), '', 'mail: words, and names of what is attached');
	like($g->{excerpt}, qr/déjà vu/, 'mail: its encodings are undone');
	skip('mandoc is not installed', 1) if @doc == 1;
	$g = $got->{'nbdsrv.pdf'};
	is($g->{kind}, 'document', 'PDF is a document');
	is(has($g, "nbdsrv", "export"), '', 'PDF: words');
	ok($g->{facts}{pages} >= 1, 'PDF: pages');
	is($got->{'nbdsrv.pdf.gz'}{simhash}, $g->{simhash}, 'PDF compressed is the same');
	run_ok($extract, "--workers", $workers, "--picture", "120x120", "--out", "$dir/page.png", "$dir/nbdsrv.pdf");
	like(slurp("$dir/page.png"), qr{^\x89PNG.{19}\x78}s, "PDF: its first page is a picture");
	ok($got->{$_}{why} || $got->{$_}{kind} eq 'document', "$_ is survived: " . ($got->{$_}{why} // '')) for qw(cut.pdf bad.pdf);
}
done_testing();
