#!/usr/bin/perl
# Whose is a volume? Two volmgrs with copies of one metadata are never both its owner, whatever they count; one
# that lost it says so. Numbers of volumes do not repeat in a folder that is empty: what servers have of another
# volmgr, or of one whose metadata was lost, is not taken for a new volume's. An older copy of the metadata is found
# out before anything is given back that it does not know of. And the status says when there are too few servers for
# writes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(make_path remove_tree);
use Test::More;
use Weft;
use Weft::Cluster;

need(qw(nbdsrv volmgr volctl qemu-io));
my $dir = temp_dir();
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+1', size => '64M', volume => 'v',
	args => { volmgr => [qw(--bpf off --replace-after 1)] });
at_end(sub { $cluster->kill });
$cluster->up;

sub io
{
	my ($uri, @commands) = @_;
	my $got = run({ timeout => 60 }, tool('qemu-io'), '-f', 'raw', '-t', 'none', (map { ('-c', $_) } @commands), $uri);
	return $got->{status} == 0 && $got->{out} !~ /failed|error/i;
}

sub status_is
{
	my ($pattern, $what, @socket) = @_;
	my $said;
	eval {
		wait_until('the status', 60, sub {
			$said = run(program('volctl'), '--socket', $socket[0] // $cluster->socket, 'status')->{out};
			return $said =~ $pattern;
		});
	};
	return like($said, $pattern, $what);
}

sub refused
{
	my ($pattern, $what, @args) = @_;
	my $got = $cluster->volctl_run(@args);
	return ok($got->{status} == 1 && $got->{err} =~ $pattern, $what) || diag("$got->{out}$got->{err}");
}

# ---- servers that writes will need --------------------------------------------------------------
refused(qr/Without server server-3 there are 2, and volume v \(2\+1\) needs 3 different ones/,
	'a server without shards is not removed when a volume could not be written then', qw(server remove server-3));
refused(qr/needs 3 different ones/, 'nor drained', qw(server drain server-3));
my $old = $cluster->get('/volumes/v')->{id};
ok(io($cluster->uri, 'write -P 170 0 24M', 'flush'), 'the volume is written');

# ---- writes that fail ----------------------------------------------------------------------------
$cluster->volctl(qw(volume set v --min 3 --below-min fail));
$cluster->kill('server-3');
status_is(qr/^Writes to parts of volume v fail: they need 3 good shards, and there are 2\.\n.*--min 2$/m,
	'the status says that writes fail, and what helps');
ok(!io($cluster->uri, 'write -P 171 0 1M'), 'and they do');
$cluster->volctl(qw(volume set v --min 2 --below-min wait));
status_is(qr/^1 of 3 servers is not up: server-3 is down.*\nStart nbdsrv there \(.*\); or add a server, which its shards are made anew on/m,
	'a server that could be replaced, if there were another one, is what the status is about');
$cluster->start('server-3');
status_is(qr/^Everything is fine/, 'until it is back');

# ---- two volmgrs with one metadata ----------------------------------------------------------------
my $other;
sub start_other
{
	$other = daemon_start(name => 'other', log => "$dir/other.log", argv => [ program('volmgr'), '--dir', "$dir/copy",
		'--secret', $cluster->secret, '--listen', "unix:$dir/o.nbd", '--socket', "$dir/o.sock", '--http', 'none', '--bpf', 'off' ]);
	return;
}
$cluster->stop('volmgr');
run_ok('cp', '-r', "$dir/c/volmgr", "$dir/copy");
$cluster->start('volmgr');
ok(io($cluster->uri, 'write -P 172 0 1M', 'flush'), 'it is written after a copy of the metadata was made');
start_other();
status_is(qr/^Volume v cannot be used: another volmgr owns it now\.\nTwo volmgrs have the same metadata/m,
	'a volmgr with the copy does not get it, though both have counted alike', "$dir/o.sock");
ok(!io("nbd+unix:///v?socket=$dir/o.nbd", 'write -P 173 0 1M'), 'and cannot write');
ok(io($cluster->uri, 'read -P 172 0 1M', 'read -P 170 1M 23M', 'write -P 174 0 1M', 'flush'), 'its owner goes on');
daemon_stop($other, 'KILL');
start_other();
ok(io("nbd+unix:///v?socket=$dir/o.nbd", 'read -P 174 0 1M', 'write -P 175 0 1M', 'flush'),
	'started once more, the other one has counted further, and gets it');
ok(!io($cluster->uri, 'write -P 176 0 1M'), 'which the first finds out');
status_is(qr/^Volume v cannot be used: another volmgr owns it now\./, 'and says');
like($cluster->volctl(qw(volume list)), qr/^\s*v\s+failed/m, 'also in the list');
$cluster->create_volume('another');
is(join(' ', map { $_->{name} } @{ $cluster->get('/volumes?sort=state&order=desc')->{volumes} }), 'v another', 'which has it as the worst');
$cluster->volctl(qw(volume delete another --yes));
daemon_stop($other, 'KILL');
for (1 .. 2) {
	$cluster->stop('volmgr');
	$cluster->start('volmgr');
}
status_is(qr/^Everything is fine/, 'the first one gets it back when it has counted further');
ok(io($cluster->uri, 'read -P 175 0 1M', 'read -P 170 1M 23M'), 'and everything is there');

# ---- an older copy of the metadata ------------------------------------------------------------------
$cluster->stop('volmgr');
run_ok('cp', '-r', "$dir/c/volmgr", "$dir/backup");
$cluster->start('volmgr');
ok(io($cluster->uri, 'write -P 178 32M 24M', 'flush'), 'more is written after a copy was made');
$cluster->kill('server-3');
ok(io($cluster->uri, 'write -P 179 0 1M', 'flush'), 'and some when a server is away');
$cluster->kill;
rename("$dir/c/volmgr", "$dir/newer") or die $!;
rename("$dir/backup", "$dir/c/volmgr") or die $!;
$cluster->start;
status_is(qr/^Volume v cannot be used: its metadata is older than what the servers know\.\nPut back the metadata that is not older/m,
	'the copy is found to be older');
ok(!io($cluster->uri, 'read 0 1M'), 'and what may be stale is not read');
$cluster->stop('volmgr');
$cluster->start('volmgr'); # now it has counted further than the right one
status_is(qr/^Volume v cannot be used: its metadata is older/m, 'also by the next start');
$cluster->stop('volmgr');
remove_tree("$dir/c/volmgr");
rename("$dir/newer", "$dir/c/volmgr") or die $!;
for (1 .. 2) {
	$cluster->start('volmgr');
	$cluster->stop('volmgr') if $_ == 1;
}
ok(io($cluster->uri, 'read -P 179 0 1M', 'read -P 170 1M 23M', 'read -P 178 32M 24M'), 'nothing was given back meanwhile');
ok(io($cluster->uri, 'write -P 175 0 1M', 'flush'), 'and it can be written');

# ---- an empty folder instead of the metadata --------------------------------------------------------
$cluster->stop('volmgr');
rename("$dir/c/volmgr", "$dir/lost") or die $!;
make_path("$dir/c/volmgr");
$cluster->start('volmgr');
$cluster->add_servers;
$cluster->create_volume('w');
isnt($cluster->get('/volumes/w')->{id}, $old, 'a volmgr that knows nothing gives another number');
ok(io($cluster->uri('w'), 'read -P 0 0 8M', 'write -P 177 0 24M', 'flush', 'read -P 177 0 24M'), 'its volume is a new one');
$cluster->stop('volmgr');
$cluster->start('volmgr');
my $check;
ok(eval {
	wait_until('the slots to be in order', 60, sub {
		$check = $cluster->volctl_run('check')->{out};
		return $check =~ /server-1 has slots of volume $old \(v\), which the metadata does not know/ && $check !~ /no right note|not up/;
	});
}, 'what is there of the old one is known as such, when the slots have been put in order') or diag($check);
$cluster->stop('volmgr');
remove_tree("$dir/c/volmgr");
rename("$dir/lost", "$dir/c/volmgr") or die $!;
$cluster->start('volmgr');
ok(io($cluster->uri, 'read -P 175 0 1M', 'read -P 170 1M 23M'), 'and was not touched');
$cluster->volctl(qw(volume delete v --yes));

# ---- fewer servers than a volume needs --------------------------------------------------------------
$cluster->stop('volmgr');
remove_tree("$dir/c/volmgr");
make_path("$dir/c/volmgr");
$cluster->format_store($_) for map { $cluster->stop($_); $_ } $cluster->server_names;
$cluster->start;
$cluster->add_servers;
$cluster->create_volume('v');
wait_until('notes on all servers', 60, sub { $cluster->volctl_run('check')->{status} == 0 });
$cluster->stop('volmgr');
remove_tree("$dir/c/volmgr");
make_path("$dir/c/volmgr");
$cluster->start('volmgr');
$cluster->volctl('recover', '--force', @{ $cluster->{address} }{qw(server-1 server-2)});
status_is(qr/^Volume v \(2\+1\) needs 3 servers to be written to where nothing is yet, and 2 take shards\.\nAdd a server:/m,
	'the status says that a server is missing');
$cluster->add_server('server-3');
status_is(qr/^Everything is fine/, 'until it is added');
done_testing();
