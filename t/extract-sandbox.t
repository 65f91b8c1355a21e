#!/usr/bin/perl
# A worker that a file has taken over can do no harm: no network, no writing, no reading, no new process,
# no endless memory or time; the file that did it is recorded as failed with why, and the files after it
# are read as if nothing had been.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;

my $extract = build_dir() . '/t/tools/extract';
my $hostile = build_dir() . '/t/tools/hostile';
skip_all('t/tools/extract is not built') if !-x $extract || !-x "$hostile/extract-text";
my $dir = temp_dir();

sub extract
{
	my ($args, @files) = @_;
	my $r = run($extract, '--workers', $hostile, @$args, @files);
	my ($stats) = $r->{err} =~ /; (.*)$/m;
	return ($stats, map { json_decode($_) } split(/\n/, $r->{out}));
}

my $n = 0;
sub deed
{
	my ($what, @args) = @_;
	my $file = "$dir/" . $n++ . '.txt';
	spew($file, "do $what\n");
	my ($stats, $got) = extract(\@args, $file);
	return ($got->{why}, $stats);
}

my $sandbox = 'the worker that read it did what it must not';
my $after = "$dir/after.txt";
spew($after, "A quiet text about lighthouses.\nLighthouses stand on rocks, lighthouses shine at night.\n");

my ($why, $stats) = deed('network');
is($why, $sandbox, 'opening the network ends the worker');
like($stats, qr/sandbox 1/, 'and that is counted');
for my $what (qw(exec fork unlink)) {
	($why) = deed($what);
	is($why, $sandbox, "$what ends the worker");
}
($why) = deed('write');
is($why, 'write: Operation not permitted', 'nothing can be opened to be written');
ok(!-e '/tmp/weft-hostile', 'nothing was written');
($why) = deed('read');
is($why, 'read: Permission denied', 'other files cannot be read');
($why) = deed('local');
is($why, 'local: Operation not permitted', 'a local socket cannot be had');
($why) = deed('signal');
is($why, 'signal: Operation not permitted', 'the parent cannot be sent a signal');
($why) = deed('spoil');
is($why, 'spoil: Bad file descriptor', 'the file itself cannot be written');
($why) = deed('exit');
is($why, 'the worker that read it gave up with status 7', 'a worker that exits is noticed');
SKIP: {
	skip('a sanitizer takes signals and memory its own way', 2)
	    if `nm -D $hostile/extract-text 2>/dev/null` =~ /__asan_init|__tsan_init/;
	($why) = deed('allocate');
	is($why, 'allocate: Cannot allocate memory', 'memory is limited');
	($why) = deed('crash');
	is($why, 'the worker that read it crashed: Segmentation fault', 'a crash is recorded');
}
($why, $stats) = deed('loop', '--time', 300);
is($why, 'it takes too long', 'time is limited');
like($stats, qr/time 1/, 'and that is counted');
for my $what (qw(lie babble)) {
	($why) = deed($what);
	is($why, 'the worker that read it gave no sense', "an answer that is none ($what) is not believed");
}

# one bad file among good ones, in every place of the queue
my @files;
for my $i (0 .. 39) {
	my $file = sprintf("%s/mixed-%02d.txt", $dir, $i);
	spew($file, $i % 4 == 1 ? ($i % 8 < 4 ? "do exec\n" : "do crash\n")
	    : "Text number $i speaks of lighthouses and ships.\n");
	push @files, $file;
}
my ($s, @got) = extract(['--n', 2], @files);
is(scalar(@got), 40, 'every file is answered once');
my %why = map { $_->{file} => $_->{why} } @got;
is_deeply([grep { defined $why{$_} } @files], [grep { /-(\d+)\.txt/ && $1 % 4 == 1 } @files],
	'only the bad ones failed');
($s, @got) = extract([], $after);
is((grep { $_->{stem} eq 'lighthous' } @{ $got[0]{tags} })[0]{text}, 'lighthouses', 'a good file has its tags');

my $r = run($extract, '--workers', "$dir/nowhere", $after);
like($r->{out}, qr/"error":-5/, 'without the worker programs requests fail, and end');
done_testing();
