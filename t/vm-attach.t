#!/usr/bin/perl
# volctl volume attach, resize and detach with the nbd of Debian's kernel, in a virtual machine. Volumes are
# told by a volmgr that only speaks; their data is nbdkit's, the same for all names.
use strict;
use warnings;
use FindBin;
use IO::Socket::INET;
use POSIX ();
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::FakeVolmgr;
use Weft::VM;

my $missing = Weft::VM::missing();
skip_all($missing) if $missing;
need(qw(volctl nbdkit));
my $proxy = Weft::build_dir() . '/t/unix-proxy';
skip_all("$proxy is not built") if !-x $proxy;
my $kernel = eval { Weft::VM::kernel_dir() };
skip_all("no kernel can be had: $@" =~ s/\n.*//sr) if !$kernel;

my $SCRIPT = <<'END';
api=$1
export WEFT_SOCKET=/tmp/volmgr.sock
mkdir -p /run /mnt
# step NAME CODE WORDS COMMAND...: it must exit so, and its output hold the words
step() {
	name=$1 code=$2 words=$3
	shift 3
	"$@" >/tmp/step 2>&1
	got=$?
	if [ $got -eq $code ] && { [ -z "$words" ] || grep -q -- "$words" /tmp/step; }; then
		echo "result 0 $name"
	else
		echo "result 1 $name"
		echo "# exit code $got"
		sed 's/^/# /' /tmp/step
	fi
}
socket_there() { [ -S /tmp/volmgr.sock ]; }
unix-proxy /tmp/volmgr.sock 10.0.2.2 "$api" &
proxy=$!
wait_for 'the proxy' socket_there

step 'the API answers' 0 'volumes   3' volctl status
step 'a volume is attached' 0 '^/dev/nbd0$' volctl volume attach v1
step 'its size is exact' 0 '^67108864$' blockdev --getsize64 /dev/nbd0
step 'attaching twice is refused' 1 'attached already: /dev/nbd0' volctl volume attach v1
step 'a second volume gets the next device' 0 '^/dev/nbd1$' volctl volume attach v2 --connections 2
step 'a device that is taken is refused' 1 'in use' volctl volume attach v3 --device /dev/nbd1
step 'the list shows devices' 0 'v1 .*/dev/nbd0$' volctl volume list
step 'a file system is made' 0 '' mkfs.ext4 -q -F /dev/nbd0
step 'and mounted' 0 '' mount -t ext4 /dev/nbd0 /mnt
echo hello >/mnt/file
step 'detach is refused while it is mounted' 1 'mounted on /mnt' volctl volume detach v1
step 'the device grows while it is mounted' 0 'resize2fs /dev/nbd0' volctl volume resize v1 128M
step 'and has the new size' 0 '^134217728$' blockdev --getsize64 /dev/nbd0
step 'unmounted' 0 '' umount /mnt
step 'detached' 0 'Volume v1 detached from /dev/nbd0' volctl volume detach v1
step 'and free' 1 '' test -e /sys/block/nbd0/pid
step 'detaching twice is refused' 1 'not attached' volctl volume detach v1
volctl volume resize v1 64M --shrink
step 'attached again' 0 '^/dev/nbd0$' volctl volume attach v1
step 'the file system is whole' 0 '' fsck.ext4 -fn /dev/nbd0
step 'mounted again' 0 '' mount -t ext4 /dev/nbd0 /mnt
step 'the file is there' 0 '^hello$' cat /mnt/file
step 'unmounted again' 0 '' umount /mnt
step 'both are detached' 0 '' volctl volume detach v1
step 'both are detached' 0 '' volctl volume detach v2
step 'a server with another size is refused' 1 'does not show the volume' volctl volume attach v3
ls -A /run/weft/attach >/tmp/left
step 'nothing is left behind' 0 '^.lock$' cat /tmp/left
kill $proxy
exit 0
END

# nbdkit on a port of the kernel's choice: sockets are passed as systemd does it
sub nbdkit_start
{
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 16) or die;
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		Weft::die_with_parent();
		my $copy = POSIX::dup(fileno($socket));
		POSIX::dup2($copy, 3); # without close-on-exec, also when it was 3 before
		@ENV{qw(LISTEN_FDS LISTEN_PID)} = (1, $$);
		exec(tool('nbdkit'), '-f', 'memory', '64M') or POSIX::_exit(127);
	}
	at_end(sub { kill('KILL', $pid); waitpid($pid, 0) });
	return $socket->sockport;
}

my $port = nbdkit_start();
my $api = Weft::FakeVolmgr::start(temp_dir(), tcp => 1, listen => ["tcp:10.0.2.2:$port"],
	volumes => { v1 => 64 << 20, v2 => 64 << 20, v3 => 32 << 20 });
my $status = eval {
	Weft::VM::vm_run(
		script => "set -- $api\n$SCRIPT", timeout => 300, programs => [program('volctl'), $proxy],
		on_line => sub {
			my ($line) = @_;
			return ok($1 == 0, $2) if $line =~ /\Aresult ([01]) (.*)\z/;
			return diag($line);
		},
	);
};
is($status, 0, 'the virtual machine ran its script to the end') or diag($@);
done_testing();
