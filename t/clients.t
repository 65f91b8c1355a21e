#!/usr/bin/perl
# Stock clients against a volume: nbdinfo, nbdcopy, nbdfuse, qemu-img, qemu-io, fio, nbdkit's nbd plugin.
# WEFT_CLIENTS_URI: against that server instead (256 MiB; overwritten).
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::Clients;
use Weft::Cluster;

need(qw(nbdinfo nbdcopy qemu-img qemu-io fio nbdkit));
my $size = 256 << 20;
my $dir = temp_dir();
if (defined $ENV{WEFT_CLIENTS_URI}) {
	clients_all($ENV{WEFT_CLIENTS_URI}, $dir, $size);
	done_testing();
	exit;
}

need(qw(nbdsrv));
open(my $disk, '>', "$dir/disk") or die $!;
truncate($disk, $size);
my $plain = daemon_start(name => 'nbdsrv', log => "$dir/nbdsrv.log", argv => [ program('nbdsrv'), '--file',
	"$dir/disk", '--export', 'disk', '--listen', 'tcp:127.0.0.1:0' ]);
subtest('a file served by nbdsrv' => sub {
	clients_all("nbd://" . ($plain->{listen}[0] =~ s{\Atcp:}{}r) . "/disk", $dir, $size);
});
daemon_stop($plain);
unlink("$dir/disk");

if (!program('volmgr')) {
	done_testing();
	exit;
}
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '4+2', size => $size);
at_end(sub { $cluster->kill });
$cluster->up;
my $free = $cluster->free_bytes;
my $used = sub { $free - $cluster->free_bytes };
subtest('a volume' => sub { clients_all($cluster->uri, $dir, $size) });

# What is trimmed comes back to the servers.
my $written = eval { wait_until('space to be used', 60, sub { my $n = $used->(); $n > 32 << 20 ? $n : 0 }) };
ok($written, 'written data uses space on the servers');
my $got = run(tool('qemu-io'), '-f', 'raw', '-d', 'unmap', '-c', "discard 0 $size", '-c', 'flush',
	$cluster->uri);
is($got->{status}, 0, 'qemu-io discards everything') or diag($got->{err});
ok(eval { wait_until('space to come back', 60, sub { $used->() < (1 << 20) }) },
	'and the space comes back') or diag($used->() . ' bytes are still used');
$got = run(tool('qemu-io'), '-f', 'raw', '-c', "read -P 0 0 32M", $cluster->uri);
ok($got->{status} == 0 && $got->{out} !~ /failed/, 'where it reads zeros') or diag($got->{out});
ok((grep { defined $cluster->pid($_) } $cluster->names) == 7, 'all daemons still run');
done_testing();
