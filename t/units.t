#!/usr/bin/perl
# The systemd units say nothing that systemd does not understand. What they do: t/vm-units.t.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Basename qw(basename);
use File::Copy qw(copy);
use Test::More;
use Weft;

need(qw(systemd-analyze nbdsrv volmgr volctl tagger));
my $dir = temp_dir();
my @units = (glob(build_dir() . '/systemd/*.service'), src_dir() . '/systemd/nbdsrv.target');
cmp_ok(scalar @units, '>=', 5, 'there are units');
for my $unit (@units) {
	# as if installed: programs are looked for
	my $text = slurp($unit) =~ s{^(Exec\w+=)\S+/(\w+)}{$1 . program($2)}gmer;
	spew("$dir/" . basename($unit), $text);
	like($text, qr{^SystemCallErrorNumber=EPERM$}m, basename($unit) . ' kills nobody for a call that he may not make')
	    if $text =~ /^SystemCallFilter=/m;
}

sub verified
{
	my ($name) = @_;
	my $got = run({ env => { SYSTEMD_UNIT_PATH => "$dir:", SYSTEMD_LOG_LEVEL => 'warning' } }, 'systemd-analyze', 'verify', '--man=no', "$dir/$name");
	my $ours = join('', grep { /\Q$dir\E|weft|nbdsrv|volmgr|tagger/ } split(/^/, $got->{err}));
	return { status => $got->{status}, ours => $ours };
}
for my $name (map { basename($_) =~ s/\@\./\@disk1./r } @units) {
	my $template = $name =~ s/\@disk1\./\@./r;
	my $got = verified($name =~ /tagger/ ? $name =~ s/disk1/mnt-photos/r : $name);
	is("$got->{status} $got->{ours}", '0 ', "systemd finds no fault in $template");
}
my $tagger = slurp(build_dir() . '/systemd/tagger@.service');
unlike($tagger, qr{^RestrictSUIDSGID}m, 'tagger may call openat2()');
like($tagger, qr{^SystemCallFilter=.*\bseccomp\b}m, 'and its workers seccomp()');
spew("$dir/wrong.service", "[Service]\nExecStart=" . program('volctl') . "\nProtectSysten=strict\n");
like(verified('wrong.service')->{ours}, qr/ProtectSysten/, 'it would find one');
done_testing();
