#!/usr/bin/perl
# make distcheck: the tarball holds everything, builds from a read-only source tree, passes its unit
# tests, installs, and uninstalls what it installed. Unit tests that take long have run on the same sources
# already, and would tell nothing new of the tarball: here they are only built.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use Test::More;
use Weft;
use Weft::Pool;

need('make');
my $dir = build_dir();
skip_all("$dir is not a build") if !-e "$dir/Makefile";
unlink(glob("$dir/weft-*.tar.xz"));
my $got = run({ timeout => 1500, dir => $dir }, 'make', '-j' . pool_jobs(), 'distcheck',
	'RUN_TESTS=$(filter-out $(LONG_TESTS),$(UNIT_TESTS))', 'PROVE_FLAGS=-j' . pool_jobs(),
	'DISTCHECK_CONFIGURE_FLAGS=CFLAGS=-O1');
is($got->{status}, 0, 'make distcheck') or do {
	my @lines = split(/\n/, "$got->{out}\n$got->{err}");
	splice(@lines, 0, @lines - 30) if @lines > 30;
	diag(join("\n", @lines));
};
my ($tarball) = glob("$dir/weft-*.tar.xz");
ok($tarball, 'there is a tarball');
SKIP: {
	my $files = run('git', '-C', src_dir(), '-c', 'safe.directory=*', 'ls-files');
	skip('not a git tree', 1) if $files->{status} || !$tarball;
	my %in = map { s{\A[^/]*/}{}r => 1 } split(/\n/, run_ok('tar', '-tf', $tarball));
	my @missing = grep { !$in{$_} && !m{\A\.|/\.} } split(/\n/, $files->{out});
	is("@missing", '', 'which holds every file of the project');
}
done_testing();
