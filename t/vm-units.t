#!/usr/bin/perl
# weft as it is installed, under systemd on Debian's kernel: the units that come with it start servers, volmgr and
# tagger and do what they are for inside all that these units forbid; a volume is attached and mounted at boot by
# fstab; volmgr is restarted under it; the page's commands attach, stop and start, by systemd and by ssh, as
# weft-web(7) writes them; eBPF and a guard with the drop-ins of weft-ebpf(7). Then the machine is booted again.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;
use Weft::Boot;

need(qw(nbdsrv volmgr volctl tagger));
my $missing = Weft::Boot::missing();
skip_all($missing) if $missing;
my $kernel = eval { Weft::VM::kernel_dir() };
skip_all("no kernel can be had: $@" =~ s/\n.*//sr) if !$kernel;

# What a manual page says between .EX and .EE behind a line, as text.
sub example
{
	my ($page, $behind) = @_;
	my ($text) = slurp(src_dir() . "/man/$page") =~ /\Q$behind\E.*?^\.EX\n(.*?)^\.EE/ms or die "$page: no example";
	return $text =~ s/\\-/-/gr;
}

my $COMMON = <<'END';
step() {
	name=$1
	shift
	if "$@" >/tmp/step 2>&1; then
		echo "result 0 $name"
	else
		echo "result 1 $name"
		sed 's/^/# /' /tmp/step
		journalctl -q --no-pager -n 25 -o cat | sed 's/^/#   /'
		return 1
	fi
}
e=/usr/local/etc/weft
# as that of the machine, but by the clock
wait_for() {
	what=$1
	shift
	end=$(($(cut -d. -f1 /proc/uptime) + 90))
	until "$@" >/tmp/waited 2>&1; do
		if [ "$(cut -d. -f1 /proc/uptime)" -ge $end ]; then
			echo "waited in vain for $what"
			cat /tmp/waited
			return 1
		fi
		usleep 300000
	done
}
api() {
	method=$1 path=$2
	shift 2
	curl -s -S --fail-with-body --max-time 150 --unix-socket /run/weft/volmgr.sock -X "$method" \
		-H 'Content-Type: application/json' "http://localhost/api/v1$path" "$@"
}
up() { [ "$(volctl --json server list | tr -d ' \n' | grep -o '"state":"up"' | wc -l)" = "$1" ]; }
mounted() { grep -q " $1 " /proc/mounts; }
active() { for unit in "$@"; do systemctl is-active --quiet "$unit" || { systemctl status --no-pager -l "$unit"; return 1; }; done; }
booted() { systemctl is-system-running --wait; [ -z "$(systemctl --failed --plain --no-legend)" ] || { systemctl --failed --no-pager; return 1; }; }
is_fine() { volctl status >/tmp/status; cat /tmp/status; grep -qi 'everything is fine' /tmp/status; }
# a server that was away may have missed something
fine() { wait_for 'all to be well' is_fine; }
tagged() { curl -s --unix-socket /run/weft/tagger.sock http://localhost/status | grep -q '"state": *"ready"'; }
END

my $FIRST = <<'END';
format() {
	volctl cluster init || return 1
	for i in 1 2 3; do
		mkdir -p /var/lib/weft/nbdsrv && nbdsrv --store /var/lib/weft/nbdsrv/d$i --format --size 192M --secret $e/secret || return 1
	done
	printf '[nbdsrv]\nlisten = shm:/run/weft-nbdsrv-d1/sock\n' >$e/nbdsrv-d1.conf
	printf '[nbdsrv]\nlisten = unix:/run/weft-nbdsrv-d2/sock\n' >$e/nbdsrv-d2.conf
	printf '[nbdsrv]\nlisten = tcp:127.0.0.1:7003\n' >$e/nbdsrv-d3.conf
}
servers() {
	systemctl enable --now nbdsrv@d1 nbdsrv@d2 nbdsrv@d3 && active nbdsrv@d1 nbdsrv@d2 nbdsrv@d3
}
add() {
	volctl server add shm:/run/weft-nbdsrv-d1/sock --name d1 --host weft &&
	volctl server add unix:/run/weft-nbdsrv-d2/sock --name d2 --host weft &&
	volctl server add tcp:127.0.0.1:7003 --name d3 --host localhost &&
	volctl volume create v --size 128M --ec 2+1 && volctl volume create w --size 64M --ec 2+1
}
attach_v() {
	systemctl enable --now weft-attach@v && volctl volume list | grep ' /dev/nbd'
}
mount_v() {
	mkfs.ext4 -q -U 11111111-2222-3333-4444-555555555555 /dev/nbd0 || return 1
	echo 'UUID=11111111-2222-3333-4444-555555555555 /mnt/v ext4 _netdev,x-systemd.requires=weft-attach@v.service 0 0' >>/etc/fstab
	mkdir -p /mnt/v
	systemctl daemon-reload && systemctl start mnt-v.mount && mounted /mnt/v
}
files() {
	echo 'the lighthouse of the harbour' >/mnt/v/note.txt
	dd if=/dev/urandom of=/mnt/v/random bs=1M count=8 conv=fsync && (cd /mnt/v && sha256sum note.txt random >/root/sums)
}
tags() { systemctl enable --now tagger@mnt-v && active tagger@mnt-v && wait_for 'tagger' found; }
found() { curl -s -S --max-time 20 --unix-socket /run/weft/tagger.sock "http://localhost/search?q=lighthouse" >/tmp/found; cat /tmp/found; ls -la /run/weft; grep -q note.txt /tmp/found; }
write_through() {
	dd if=/dev/zero of=/mnt/v/more bs=64k count=32 conv=fsync && active weft-attach@v && (cd /mnt/v && sha256sum -c /root/sums)
}
restarts() { systemctl restart volmgr && write_through; }
killed() {
	pid=$(systemctl show -P MainPID volmgr)
	kill -9 "$pid"
	# systemd starts it again
	wait_for 'another volmgr' another && write_through
}
another() { now=$(systemctl show -P MainPID volmgr); [ "$now" != 0 ] && [ "$now" != "$pid" ] && active volmgr && volctl status; }
by_page() { api POST /volumes/w/attach -d '{}' && active weft-attach@w && volctl volume list | grep 'w .*/dev/nbd1'; }
off_page() { api POST /volumes/w/detach -d '{}' && ! active weft-attach@w && [ ! -e /sys/block/nbd1/pid ]; }
host_stop() { api POST "/hosts/$1/power" -d '{"action":"stop","force":true}' && wait_for "no servers" up "$2"; }
host_start() { api POST "/hosts/$1/power" -d '{"action":"start"}' && wait_for "servers" up 3; }
power() { api GET /hosts/weft/power | tr -d ' \n' | tee /dev/stderr | grep -q '"unavailable":1,"waiting":1'; }
wake() { api POST /hosts/weft/power -d '{"action":"wake"}' && [ "$(cat /run/woken)" = weft ]; }
ebpf() {
	mkdir -p /etc/systemd/system/volmgr.service.d
	cp /etc/ebpf.conf /etc/systemd/system/volmgr.service.d/ && echo 'bpf = auto' >>$e/weft.conf
	systemctl daemon-reload && systemctl restart volmgr && wait_for servers up 3
	volctl status | grep 'ebpf *on'
}
guard() {
	mkdir -p /etc/systemd/system/nbdsrv@d3.service.d
	cp /etc/guard.conf /etc/systemd/system/nbdsrv@d3.service.d/
	printf 'guard = lo\nmember = 127.0.0.1\n' >>$e/nbdsrv-d3.conf
	systemctl daemon-reload && systemctl restart nbdsrv@d3 && wait_for servers up 3
	journalctl -q --no-pager -u nbdsrv@d3 | grep 'a guard on lo drops'
}
stops() { systemctl stop mnt-v.mount && systemctl stop weft-attach@v && [ ! -e /sys/block/nbd0/pid ] && systemctl start mnt-v.mount; }

echo result 0 'systemd boots'
step 'sshd runs' systemctl start ssh
step 'the units are without fault' systemd-analyze verify --man=no /usr/local/lib/systemd/system/volmgr.service \
	/usr/local/lib/systemd/system/nbdsrv.target nbdsrv@d1.service weft-attach@v.service tagger@mnt-v.service
step 'stores are made' format || exit 1
step 'nbdsrv@ runs each' servers || exit 1
{ echo '[volmgr]'; cat <<'CONF'; } >$e/weft.conf
%s
CONF
step 'volmgr.service starts' systemctl enable --now volmgr || exit 1
step 'it reaches servers by shared memory, Unix socket and TCP' add || exit 1
step 'weft-attach@ attaches a volume' attach_v || exit 1
step 'fstab mounts what is on it' mount_v || exit 1
step 'files are written' files
step 'tagger@ reads them' tags
step 'volmgr.service is restarted under them' restarts
step 'and killed, and comes back by itself' killed
step 'the page attaches by systemctl' by_page
step 'and detaches' off_page
step 'it counts what a host would take away' power
step 'it stops the servers of a host by ssh' host_stop weft 0
step 'and starts them' host_start weft
step 'it wakes by a unit' wake
step 'files are whole' write_through
step 'eBPF is on with the drop-in' ebpf
step 'files are whole then' write_through
step 'a guard is on with its drop-in' guard
step 'everything is fine' fine
step 'the mount, and then the device, can be stopped' stops
exit 0
END

my $SECOND = <<'END';
step 'booted again, nothing failed' booted
step 'everything came back by itself' active nbdsrv@d1 nbdsrv@d2 nbdsrv@d3 volmgr weft-attach@v mnt-v.mount tagger@mnt-v
same() { mounted /mnt/v && (cd /mnt/v && sha256sum -c /root/sums); }
step 'the file system is mounted and its files are the same' same
wait_for servers up 3
step 'everything is fine' fine
clean() { ! journalctl -q --no-pager -b -p err _SYSTEMD_UNIT=volmgr.service | grep .; }
step 'volmgr logs no error' clean
exit 0
END
$FIRST =~ s/^%s\n/$_ = example('weft-web.7', 'by ssh. nbdsrv.target') . example('weft-web.7', 'volmgr.service may do'); $_/me;

my $dir = temp_dir();
my $disk = Weft::Boot::disk_make($dir, sub {
	my ($root) = @_;
	spew("$root/etc/ebpf.conf", example('weft-ebpf.7', 'so under systemd it takes a drop'));
	spew("$root/etc/guard.conf", example('weft-ebpf.7', 'A guard takes CAP_BPF'));
	spew("$root/etc/weft/ssh_config", example('weft-web.7', 'since volmgr.service sees no home'));
	my $wake = example('weft-web.7', 'where wake@.service is yours');
	$wake =~ s{^ExecStart=/usr/sbin/etherwake -i eth0 %i$}{ExecStart=/bin/sh -c 'echo %i >/run/woken'}m or die 'wake';
	spew("$root/etc/systemd/system/wake\@.service", $wake);
});
for ([ 'first', $FIRST ], [ 'second', $SECOND ]) {
	my ($name, $script) = @$_;
	my $status = eval {
		Weft::Boot::boot($disk, script => "$COMMON$script", timeout => 600, cpus => 2, on_line => sub {
			my ($line) = @_;
			return ok($1 == 0, $2) if $line =~ /\Aresult ([01]) (.*)\z/;
			return diag($line);
		});
	};
	is($status, 0, "the machine came to the end of its $name script") or do { diag($@); last };
}
done_testing();
