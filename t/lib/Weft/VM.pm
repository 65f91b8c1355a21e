# A real Debian kernel in QEMU, so that stock nbd-client and the kernel's nbd, ext4 and xfs are tried
# where this machine has none of them. Debian's cloud kernel package is downloaded and unpacked, never
# installed; an initramfs is packed from this machine's busybox, nbd-client and mkfs with the libraries
# they need; a shell script runs in the guest, and its output and exit code come back over a second
# serial port. The guest reaches this machine's loopback as 10.0.2.2.
package Weft::VM;

use strict;
use warnings;

use File::Basename qw(basename dirname);
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use IO::Socket::UNIX;
use Time::HiRes qw(time);
use Weft;

use constant BOOT_TIMEOUT_S => 300;
use constant LINE_MAX       => 65536;

my @MODULES = qw(virtio_pci virtio_net nbd ext4 xfs crc32c_generic crc32c-intel libcrc32c);
my @PROGRAMS = qw(nbd-client mkfs.ext4 mkfs.xfs fsck.ext4 xfs_repair resize2fs blkdiscard fstrim fio);
my @NEEDED = qw(qemu-system-x86_64 busybox nbd-client mkfs.ext4 mkfs.xfs);

# Why a machine cannot be started here, or undef.
sub missing
{
	my @missing = grep { !tool($_) } @NEEDED;
	return @missing ? "@missing missing; 'sudo t/packages check' installs what the tests need" : undef;
}

# ---- the kernel -------------------------------------------------------------

sub cache_dir
{
	return $ENV{WEFT_VM_CACHE} if $ENV{WEFT_VM_CACHE};
	my $base = $ENV{XDG_CACHE_HOME} // (($ENV{HOME} // '/var/cache') . '/.cache');
	return "$base/weft/vm";
}

# The name of the image package that Debian's meta package points to, or undef without package lists.
sub image_package
{
	my $got = run({ env => { LC_ALL => 'C' } }, 'apt-cache', 'depends', 'linux-image-cloud-amd64');
	return $got->{out} =~ /Depends: (linux-image-[0-9]\S+-cloud-amd64)$/m ? $1 : undef;
}

sub kernel_download
{
	my ($package, $dir) = @_;
	my $work = "$dir.work";
	remove_tree($work);
	make_path("$work/root");
	run_ok({ dir => $work, timeout => 300 }, 'apt-get', '-q', '-o', 'APT::Sandbox::User=root',
		'download', $package);
	my ($deb) = glob("$work/*.deb") or die "apt-get download $package left no file\n";
	run_ok({ timeout => 120 }, 'dpkg', '-x', $deb, "$work/root");
	unlink($deb);
	remove_tree($dir);
	rename("$work/root", $dir) or die "$dir: $!\n";
	remove_tree($work);
	return;
}

# The folder of an unpacked kernel package, from the cache or downloaded.
sub kernel_dir
{
	my $cache = cache_dir();
	make_path($cache);
	my $package = image_package();
	if ($package) {
		my $dir = "$cache/$package";
		return $dir if -d "$dir/boot";
		return $dir if eval { kernel_download($package, $dir); 1 };
		warn "# $package cannot be downloaded: $@";
	}
	my @old = sort { -M $a <=> -M $b } grep { -d "$_/boot" } glob("$cache/linux-image-*");
	return $old[0] if @old;
	die "no kernel for the virtual machine: 'apt-get update' as root with a network, then again\n";
}

# ---- the initramfs ----------------------------------------------------------

sub module_text
{
	my ($path) = @_;
	return run_ok('xz', '-dc', $path) if $path =~ /\.xz\z/;
	return slurp($path);
}

# Module files by name ("-" and "_" are the same there), and each with what it depends on first.
sub modules_copy
{
	my ($kernel, $root, @more) = @_;
	my %path;
	for my $file (split(/\n/, run_ok('find', "$kernel/lib/modules", '-name', '*.ko*'))) {
		(my $name = basename($file)) =~ s/\.ko(\.xz)?\z//;
		$path{ $name =~ tr/-/_/r } = $file;
	}
	make_path("$root/modules");
	my (%done, @order);
	my $add;
	$add = sub {
		my ($name) = map { tr/-/_/r } @_;
		return if $done{$name}++ || !$path{$name};
		my $text = module_text($path{$name});
		my ($depends) = $text =~ /\0depends=([^\0]*)\0/;
		$add->($_) for split(/,/, $depends // '');
		spew("$root/modules/$name.ko", $text);
		push @order, $name;
	};
	$add->($_) for @MODULES, @more;
	spew("$root/modules/order", join('', map { "$_\n" } @order));
	return;
}

sub libraries
{
	my @files = @_;
	my %lib;
	for my $file (@files) {
		for my $line (split(/\n/, run('ldd', $file)->{out})) {
			$lib{$1} = 1 if $line =~ m{(/\S+) \(0x};
		}
	}
	return sort keys %lib;
}

sub file_copy
{
	my ($from, $to, $mode) = @_;
	make_path(dirname($to));
	copy($from, $to) or die "$from to $to: $!\n";
	chmod($mode, $to);
	return;
}

sub programs_copy
{
	my ($root, $opt) = @_;
	my ($more, $files) = ($opt->{programs} // [], $opt->{files} // []);
	make_path(map { "$root/$_" } qw(bin sbin proc sys dev tmp etc run mnt usr));
	symlink('../bin', "$root/usr/bin");
	symlink('../sbin', "$root/usr/sbin");
	file_copy(tool('busybox'), "$root/bin/busybox", 0755);
	my %taken = (busybox => 1);
	my @paths = grep { defined } map { m{/} ? $_ : tool($_) } ($opt->{bare} ? () : @PROGRAMS), @$more;
	for my $path (@paths) {
		file_copy($path, "$root/bin/" . basename($path), 0755);
		$taken{ basename($path) } = 1;
	}
	file_copy($_, "$root$_", 0755) for libraries(@paths, @$files), @$files;
	for my $name (split(/\n/, run_ok('busybox', '--list'))) {
		symlink('busybox', "$root/bin/$name") if !$taken{$name};
	}
	spew("$root/etc/passwd", "root:x:0:0:root:/:/bin/sh\n");
	spew("$root/etc/mtab", '');
	return;
}

# /init: network, the script, and its exit code on the second serial port. Sent as one word that no
# output of a script is likely to hold, as the port carries both.
my $INIT = <<'END';
#!/bin/sh
export PATH=/bin:/sbin HOME=/ LC_ALL=C
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs -o size=75% tmp /tmp
mount -t tmpfs tmp /run
ln -sf /proc/self/fd /dev/fd
for m in $(cat /modules/order); do
	case $m in
	nbd) insmod /modules/$m.ko nbds_max=8 ;;
	*) insmod /modules/$m.ko 2>/dev/null ;;
	esac
done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
. /etc/vm-functions
END

my $RUN = <<'END';
stty -F /dev/ttyS1 raw -echo
exec 0</dev/ttyS1 1>/dev/ttyS1 2>&1 3>&1
echo weft-vm-ready
(. /script)
echo "weft-vm-exit $?"
sync
exec 0</dev/null 1>/dev/console 2>&1 3>&-
sleep 1
poweroff -f
END

# What scripts may use: "host COMMAND" runs a command on the machine outside (when the caller allows it):
# returns its exit code, its first line of output is in $host_out.
my $FUNCTIONS = <<'END';
host() {
	echo "weft-vm-host $*" >&3
	read -r host_status host_out
	echo "$host_out"
	return "$host_status"
}
fail() {
	echo "$*"
	exit 1
}
wait_for() {
	what=$1
	shift
	n=0
	until "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		if [ $n -ge 600 ]; then
			echo "waited in vain for $what"
			return 1
		fi
		usleep 100000
	done
}
END

sub functions { return $FUNCTIONS }

sub initramfs
{
	my ($kernel, $work, $opt) = @_;
	my $root = "$work/root";
	programs_copy($root, $opt);
	modules_copy($kernel, $root, @{ $opt->{modules} // [] });
	spew("$root/init", $INIT . ($opt->{init} // $RUN));
	spew("$root/etc/vm-functions", $FUNCTIONS);
	spew("$root/script", $opt->{script});
	chmod(0755, "$root/init");
	run_ok({ dir => $root, timeout => 120 }, 'sh', '-c',
		"find . | busybox cpio -o -H newc > ../initramfs 2>/dev/null");
	return "$work/initramfs";
}

# ---- running ----------------------------------------------------------------

sub qemu_start
{
	my ($opt, $kernel, $initramfs, $work) = @_;
	my ($vmlinuz) = glob("$kernel/boot/vmlinuz-*") or die "$kernel has no vmlinuz\n";
	my $accel = $ENV{WEFT_VM_ACCEL} // 'tcg';
	my @argv = (
		tool('qemu-system-x86_64'), '-nodefaults', '-display', 'none', '-no-reboot',
		'-accel', $accel, '-cpu', $accel eq 'kvm' ? 'host' : 'max', '-smp', $opt->{cpus} // 1,
		'-m', $opt->{memory} // '512M', '-kernel', $vmlinuz, '-initrd', $initramfs,
		'-append', 'console=ttyS0 panic=-1 quiet mitigations=off tsc=reliable',
		'-netdev', 'user,id=n0', '-device', 'virtio-net-pci,netdev=n0,romfile=',
		'-serial', "file:$work/console", '-chardev',
		"socket,id=s1,path=$work/ttyS1,server=on,wait=on", '-serial', 'chardev:s1',
	);
	push @argv, '-drive', "if=virtio,format=raw,cache=unsafe,file=$opt->{disk}" if $opt->{disk};
	return daemon_start(name => 'qemu', argv => \@argv, log => "$work/qemu.log", no_ready => 1);
}

sub line_handle
{
	my ($opt, $io, $line) = @_;
	if ($line =~ /\Aweft-vm-host (.*)\z/) {
		my $allowed = $opt->{host_commands};
		my $got = ref $allowed ? $allowed->($1)
			: $allowed ? run({ timeout => 120 }, 'sh', '-c', $1)
			: { status => 126, out => "commands on the host are not allowed\n" };
		my ($first) = split(/\n/, $got->{out});
		print STDERR $got->{err} if $got->{err};
		syswrite($io, "$got->{status} " . ($first // '') . "\n");
		return;
	}
	$opt->{on_line}->($line) if $opt->{on_line};
	return;
}

# Lines from the guest until it says how its script ended. Returns the exit code; dies on time-out.
sub converse
{
	my ($opt, $io, $qemu) = @_;
	my ($buf, $end) = ('', time + ($opt->{timeout} // 300));
	while (1) {
		while ($buf =~ s/\A([^\n]*)\n//) {
			my $line = $1 =~ s/\r\z//r;
			return $1 if $line =~ /\Aweft-vm-exit ([0-9]+)\z/;
			line_handle($opt, $io, $line) if $line ne 'weft-vm-ready';
		}
		die "a line longer than " . LINE_MAX . " bytes from the guest\n" if length($buf) > LINE_MAX;
		Weft::wait_readable(fileno($io), $end - time)
			or die "the script in the virtual machine did not end in time\n";
		my $n = sysread($io, $buf, 65536, length $buf);
		next if !defined $n && $!{EINTR};
		die "the virtual machine ended before its script\n" if !$n;
	}
}

# Boots and runs a shell script. Options: script (text), timeout (s), on_line => sub (each line of
# output), host_commands (1: the guest may run commands here by "host COMMAND"; a sub: it is given them
# and returns { status, out }), programs => [more to take along],
# files => [and these, at the same place], cpus, memory, verbose. For Weft::Boot: bare (without these programs), end_timeout (dies when it is not off then),
# modules => [more of them], disk (a file), init (instead of running the script).
# Returns the script's exit code; dies when the machine does not get that far.
sub vm_run
{
	my (%opt) = @_;
	my $work = temp_dir();
	my $kernel = kernel_dir();
	my $initramfs = initramfs($kernel, $work, \%opt);
	my $qemu = qemu_start(\%opt, $kernel, $initramfs, $work);
	my $status = eval {
		my $io;
		wait_until('the serial port of the virtual machine', 60, sub {
			die "qemu ended: " . slurp("$work/qemu.log") if !pid_alive($qemu->{pid});
			$io = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "$work/ttyS1");
		});
		converse(\%opt, $io, $qemu);
	};
	my $why = $@;
	if (defined $status && !pid_wait($qemu->{pid}, $opt{end_timeout} // 10) && $opt{end_timeout}) {
		($status, $why) = (undef, "the machine was not off in $opt{end_timeout} s\n");
	}
	daemon_stop($qemu, 'KILL');
	if (!defined $status) {
		my @console = split(/\n/, eval { slurp("$work/console") } // '');
		splice(@console, 0, @console - 40) if @console > 40;
		die $why . join('', map { "    console: $_\n" } @console);
	}
	print STDERR slurp("$work/console") if $opt{verbose};
	return $status;
}

1;
