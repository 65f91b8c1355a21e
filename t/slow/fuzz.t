#!/usr/bin/perl
# Each fuzzer runs for a while on bytes it makes up: no crash, no hang, no leak, bounded memory.
# WEFT_FUZZ_SECONDS says how long.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use File::Basename qw(basename);
use Test::More;
use Weft;
use Weft::Pool;

need(qw(clang make));
my $seconds = $ENV{WEFT_FUZZ_SECONDS} // 12;
my $dir = build_dir() . '/slow-fuzz';
my $got = run({ timeout => 1200, env => { WEFT_TARGETS => 'fuzzers' } }, src_dir() . '/t/build', $dir, 'CC=clang',
	'CFLAGS=-O1 -g1', '--enable-developer', '--enable-fuzzers', '--without-npm');
is($got->{status}, 0, 'fuzzers build') or diag($got->{err});
my @fuzzers = grep { -f && -x _ && !/\./ } glob("$dir/t/fuzz/*");
ok(@fuzzers > 0, 'there are fuzzers');
my $work = temp_dir();

sub fuzz
{
	my ($path) = @_;
	my $name = basename($path);
	mkdir("$work/$name");
	my @corpus = grep { -d } src_dir() . "/t/fuzz/corpus/$name";
	my $got = run({ timeout => $seconds + 240, dir => "$work/$name" }, $path, "-max_total_time=$seconds", '-timeout=60',
		'-rss_limit_mb=2048', '-print_final_stats=1', "$work/$name", @corpus);
	my @lines = split(/\n/, $got->{err});
	splice(@lines, 0, @lines - 40) if @lines > 40;
	return { status => $got->{status}, end => join("\n", @lines) };
}

sub fuzzed
{
	my ($path, $got) = @_;
	my $name = basename($path);
	$got //= { status => -1, end => 'it did not come to its end' };
	is($got->{status}, 0, "$name finds nothing in $seconds s") or diag($got->{end});
	my ($runs) = $got->{end} =~ /number_of_executed_units: ([0-9]+)/;
	note("$name: " . ($runs // 'no') . ' runs');
	return;
}

pool_run(pool_jobs(), \&fuzz, \&fuzzed, @fuzzers);
done_testing();
