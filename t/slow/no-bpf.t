#!/usr/bin/perl
# Without eBPF everything builds and runs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use Test::More;
use Weft;

my $dir = build_dir() . '/slow-no-bpf';
my $got = run({ timeout => 1200 }, src_dir() . '/t/build', $dir, 'CFLAGS=-O1', '--enable-developer',
	'--disable-bpf', '--without-npm');
is($got->{status}, 0, '--disable-bpf builds') or diag($got->{err});
unlike(slurp("$dir/config.h"), qr/^#define HAVE_BPF/m, 'without eBPF');
for my $name (qw(nbdsrv volmgr volctl)) {
	local $ENV{WEFT_BUILD} = $dir;
	is(run(program($name) // $name, '--version')->{status}, 0, "$name runs");
}
unlike(run('sh', '-c', "ldd \$(find $dir -name volmgr -type f)")->{out}, qr/libbpf/,
	'and needs no libbpf');
for my $test (qw(restart watch)) {
	local $ENV{WEFT_BUILD} = $dir;
	my $run = run({ timeout => 600 }, $^X, src_dir() . "/t/$test.t");
	ok($run->{status} == 0 && $run->{out} !~ /^not ok|^1\.\.0/m, "t/$test.t passes with it") or diag($run->{out}, $run->{err});
}
done_testing();
