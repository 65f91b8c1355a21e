#!/usr/bin/perl
# Files of every kind with bytes changed, cut out, doubled at random: each is answered once and in time, and
# whatever a library makes of it costs a worker at most. WEFT_SEED=N repeats a run, WEFT_ROUNDS=N makes it
# longer.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;

my $extract = build_dir() . '/t/tools/extract';
my $workers = build_dir() . '/tagger/worker';
skip_all('the workers are not built') if grep { !-x } $extract, map { "$workers/extract-$_" } qw(text doc media);
my $dir = temp_dir();
my $seed = $ENV{WEFT_SEED} // time;
my $rounds = $ENV{WEFT_ROUNDS} // 12;
srand($seed);
diag("seed $seed");

mkdir("$dir/base");
my $base = "$dir/base";
spew("$base/a.md", "---\ntitle: T\n---\n# Head\n[a](b.md) text text\n\n```\nx\n```\n" x 20);
spew("$base/a.c", "/* about ships */\n#include \"a.h\"\nstatic int ship_sail(int x)\n{\n\treturn x;\n}\n" x 20);
spew("$base/a.html", "<!DOCTYPE html><title>T</title><h1>H</h1><p>ships <a href='b'>sail</a>" x 20);
spew("$base/a.xml", "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a b='c'>" . '<d>ships &b;</d>' x 50 . '</a>');
spew("$base/a.eml", "From: A <a\@b.c>\nTo: d\@e.f\nSubject: =?UTF-8?Q?ships?=\nMIME-Version: 1.0\nContent-Type: multipart/mixed;"
    . " boundary=x\n\n--x\nContent-Type: text/plain; charset=utf-8\n\nships sail\n--x\nContent-Type: text/html\n"
    . "Content-Transfer-Encoding: base64\n\nPHA+c2hpcHM8L3A+\n--x--\n");
mkdir("$dir/odt");
spew("$dir/odt/mimetype", 'application/vnd.oasis.opendocument.text');
spew("$dir/odt/content.xml", '<a><text:h>Ships</text:h>' . '<text:p>ships sail</text:p>' x 50 . '</a>');
run_ok({ dir => "$dir/odt" }, 'sh', '-c', "zip -Xq0 ../base/a.odt mimetype && zip -q ../base/a.odt content.xml") if have('zip');
run_ok({ dir => $base }, 'sh', '-c', 'tar czf a.tar.gz a.md a.c; gzip -k a.c; xz -k a.md; bzip2 -k a.html');
run_ok('sh', '-c', "mandoc -T pdf '" . src_dir() . "/man/nbdsrv.8' >'$base/a.pdf'") if have('mandoc');
if (have('ffmpeg')) {
	my @picture = (-f => 'lavfi', -i => 'testsrc=s=160x120', '-frames:v', 1);
	run_ok('ffmpeg', '-v', 'error', @picture, "$base/$_") for qw(a.jpg a.png a.gif a.bmp a.tiff);
	run_ok('ffmpeg', '-v', 'error', -f => 'lavfi', -i => 'testsrc=s=160x120:d=1', -f => 'lavfi', -i => 'sine=d=1', "$base/$_")
	    for qw(a.mp4 a.mkv a.avi);
	run_ok('ffmpeg', '-v', 'error', -f => 'lavfi', -i => 'sine=d=1', -metadata => 'title=T', "$base/$_") for qw(a.flac a.wav);
}

sub mutate
{
	my ($bytes) = @_;
	for (1 .. 1 + int(rand(6))) {
		my $len = length($bytes) or last;
		# heads matter most
		my $at = rand() < 0.5 ? int(rand($len < 512 ? $len : 512)) : int(rand($len));
		my $n = 1 + int(rand(rand() < 0.8 ? 4 : 200));
		my $what = int(rand(5));
		if ($what == 0) { substr($bytes, $at, 1) = chr(int(rand(256))) }
		elsif ($what == 1) { substr($bytes, $at, $n) = '' }
		elsif ($what == 2) { substr($bytes, $at, 0) = substr($bytes, int(rand($len)), $n) }
		elsif ($what == 3) { substr($bytes, $at, $n) = "\xff" x $n }
		else { $bytes = substr($bytes, 0, $at) }
	}
	return $bytes;
}

my @files;
for my $path (glob("$base/*")) {
	my ($name) = $path =~ m{([^/]+)$};
	my $bytes = slurp($path);
	for my $i (1 .. $rounds) {
		my $file = "$dir/$i-$name";
		spew($file, mutate($bytes));
		push @files, $file;
	}
}
for my $args ([], ['--picture', '64x64'], ['--sprite', '2x2']) {
	my $r = run({ timeout => 250, stdin => join('', map { "$_\n" } @files) }, $extract, '--workers', $workers, '--time', 20000, @$args);
	my %got;
	for my $line (split(/\n/, $r->{out})) {
		my ($file) = $line =~ /"file":"([^"]+)"/;
		$got{$file} .= $line;
	}
	my $name = @$args ? "@$args" : 'extraction';
	is($r->{status}, 0, "$name: tagger's side lives");
	is(scalar(keys %got), scalar(@files), "$name: each file is answered");
	my @lied = grep { /no sense|gave up with status|must not|too long/ } values %got;
	is_deeply(\@lied, [], "$name: no worker breaks a rule, gives up, or hangs");
	note("$name: $r->{err}");
}
done_testing();
