#!/usr/bin/perl
# A build by clang with address and undefined-behaviour sanitizers: it has no warnings, its unit tests
# pass, and so do those tests of whole daemons that foreign clients and faults drive.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use Test::More;
use Weft;
use Weft::Pool;

need(qw(clang make));
my $dir = build_dir() . '/slow-clang-sanitizers';
my $t = src_dir() . '/t';
my $got = run({ timeout => 1200 }, "$t/build", $dir, 'CC=clang', 'CFLAGS=-O2 -g1', '--enable-developer',
	'--enable-sanitizers', '--without-npm');
is($got->{status}, 0, 'builds without a warning') or diag($got->{err});
$got = run({ timeout => 1200, dir => $dir }, 'make', '-j' . pool_jobs(), 'unit-tests');
is($got->{status}, 0, 'unit tests build without a warning') or diag($got->{err});

my $env = sub {
	my ($to) = @_;
	return {
		WEFT_BUILD => $dir, UBSAN_OPTIONS => "log_path=$to:print_stacktrace=1:halt_on_error=1",
		LSAN_OPTIONS => "print_suppressions=0:suppressions=$t/lsan.supp",
		ASAN_OPTIONS => "log_path=$to:abort_on_error=0:"
		    . 'detect_stack_use_after_return=1:strict_string_checks=1',
	};
};
# those that take longest first
my @whole = grep { -e } map { "$t/$_.t" }
    qw(bad-input restart nbdsrv-file full-store api extract-media extract extract-sandbox tagger-hang tagger-upload tagger-scope tagger-bin shares extract-mutate);
my @unit = map { "$dir/$_" } split(/\s+/, run_ok({ dir => $dir }, 'make', '-s', 'print-unit-tests'));
sanitized_ok($env, @whole, @unit);
done_testing();
