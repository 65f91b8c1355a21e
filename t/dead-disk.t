#!/usr/bin/perl
# A disk that refuses to write, as dying ones do: its server ends rather than answer with errors, clients notice
# nothing, and when the disk is well again, or was never more than briefly ill, all is as it should be.
# The disk is nbdkit's, which fails when told to, as a loop device over nbdfuse.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::Cluster;

need(qw(nbdsrv volmgr volctl nbdkit nbdfuse));
skip_all('only root can make loop devices') if $> != 0;
skip_all('it takes /dev/fuse and loop devices') if !-w '/dev/fuse' || !-w '/dev/loop-control';
my $hammer = build_dir() . '/t/tools/hammer';
skip_all('t/tools/hammer is not built') if !-x $hammer;
my $dir = temp_dir();
my $ill = "$dir/ill"; # while this is there, the disk fails
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '4+2', size => '64M', store_size => '128M');
my ($fuse, $loop);
at_end(sub {
	unlink($ill);
	$cluster->kill;
	run('losetup', '-d', $loop) if $loop;
	run('fusermount3', '-u', "$dir/fuse");
});

sub disk
{
	my ($size) = @_;
	spew("$dir/disk", '');
	truncate("$dir/disk", $size) or die "truncate: $!\n";
	daemon_start(name => 'nbdkit', no_ready => 1, log => "$dir/nbdkit.log", argv => [ tool('nbdkit'), '-f', '-U',
		"$dir/disk.sock", '--filter=error', 'file', "$dir/disk", 'error=EIO', "error-file=$ill",
		map { "error-$_-rate=100%" } qw(pwrite zero trim) ]);
	wait_until('nbdkit', 60, sub { -S "$dir/disk.sock" });
	mkdir("$dir/fuse");
	$fuse = daemon_start(name => 'nbdfuse', no_ready => 1, log => "$dir/nbdfuse.log",
		argv => [ tool('nbdfuse'), "$dir/fuse/disk", "nbd+unix:///?socket=$dir/disk.sock" ]);
	wait_until('nbdfuse', 60, sub { -s "$dir/fuse/disk" });
	chomp($loop = run_ok('losetup', '--find', '--show', "$dir/fuse/disk"));
	return $loop;
}

sub hammer_start
{
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		open(STDOUT, '>', "$dir/hammer") or POSIX::_exit(126);
		open(STDERR, '>&', \*STDOUT) or POSIX::_exit(126);
		Weft::die_with_parent();
		{ no warnings 'exec'; exec($hammer, '--seconds', 600, '--stall', 90, '--max-len', 262144, $cluster->uri); }
		POSIX::_exit(127);
	}
	wait_until('hammer to begin', 120, sub { -e "$dir/hammer" && slurp("$dir/hammer") =~ /^begun$/m });
	return $pid;
}

sub hammer_end
{
	my ($pid, $name) = @_;
	kill('TERM', $pid);
	my $ended = eval { wait_until('hammer to end', 120, sub { waitpid($pid, POSIX::WNOHANG()) }) };
	is($ended ? $? : -1, 0, $name) or diag(slurp("$dir/hammer"));
	kill('KILL', $pid) if !$ended;
	return;
}

sub state_of { return (grep { $_->{name} eq $_[0] } @{ $cluster->get('/servers')->{servers} })[0]{state} }

sub all_good
{
	my $map = $cluster->get('/volumes/vol/map');
	return !grep { $_->{stale} } map { @{ $_->{shards} } } @{ $map->{extents} };
}

$cluster->format_stores;
my $store = $cluster->store_file('server-1');
unlink($store) or die "$store: $!\n";
symlink(disk(128 << 20), $store) or die "symlink: $!\n";
run_ok(program('nbdsrv'), '--store', "$dir/c/server-1", '--format', '--secret', $cluster->secret);
$cluster->start;
$cluster->add_servers;
$cluster->create_volume('vol');

my $load = hammer_start();
spew($ill, '');
ok(eval { wait_until('its server to be missed', 60, sub { state_of('server-1') ne 'up' }) },
	'a server whose disk refuses to write ends');
ok(eval { wait_until('the reason', 60, sub { slurp("$dir/c/log/server-1.log") =~ /the disk fails, so this server ends/ }) }, 'and says why');
my $before = $cluster->get('/volumes/vol')->{stat}{writes};
ok(eval { wait_until('writes', 60, sub { $cluster->get('/volumes/vol')->{stat}{writes} > $before + 200 }) },
	'writes go on');
hammer_end($load, 'nobody was told of an error, and every byte is right');
my $status = run(program('nbdsrv'), '--store', "$dir/c/server-1", '--secret', $cluster->secret, '--listen',
	"unix:$dir/s.sock");
isnt($status->{status}, 0, 'as long as the disk is ill, the server does not start');

unlink($ill) or die "$ill: $!\n";
$cluster->kill('server-1'); # what is left of it here
# the kernel tells once more of what it could not write, to whoever syncs first
ok(eval { wait_until('the server', 60, sub { eval { $cluster->start('server-1'); 1 } }) }, 'then it starts');
$load = hammer_start();
ok(eval { wait_until('all shards to be good', 120, \&all_good) }, 'with the disk well again, all shards are made good');
hammer_end($load, 'under load, and every byte is right');
my $check;
ok(eval { wait_until('an end of what volmgr tidies', 120, sub { ($check = $cluster->volctl_run('check'))->{status} == 0 }) },
	'everything agrees') or diag($check->{out}, $check->{err});
done_testing();
