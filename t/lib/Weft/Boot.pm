# A disk with an installed weft that systemd boots: this machine's systemd, udev and ssh with the libraries that
# they need, what "make install" makes, and a unit that runs a script once everything was started. Debian's
# kernel boots it in QEMU (Weft::VM), several times if wanted: what was written is there still.
package Weft::Boot;

use strict;
use warnings;

use File::Basename qw(basename dirname);
use File::Copy qw(copy);
use File::Path qw(make_path remove_tree);
use Weft;
use Weft::VM;

use constant DISK_SIZE => '3G'; # what is not written takes no space

my @PACKAGES = qw(systemd udev openssh-server);
my @NEEDED = qw(mkfs.ext4 udevadm sshd ssh-keygen systemctl);
my @PROGRAMS = qw(sh dash bash mount umount mkfs.ext4 fsck fsck.ext4 blkid nbd-client ssh ssh-keygen kmod modprobe agetty
    sulogin stty cmp dd grep sed touch sha256sum curl);
# Units that a machine for one test has no use for; each costs seconds of emulated time.
my @MASKED = qw(systemd-hwdb-update systemd-machine-id-commit systemd-firstboot systemd-logind systemd-random-seed
    systemd-update-utmp systemd-update-utmp-runlevel systemd-pcrphase systemd-pcrphase-sysinit systemd-boot-system-token
    systemd-sysusers systemd-binfmt modprobe@configfs modprobe@dm_mod modprobe@fuse modprobe@loop modprobe@drm
    modprobe@efi_pstore kmod-static-nodes systemd-modules-load systemd-pstore systemd-user-sessions systemd-networkd e2scrub_reap ldconfig);
my @PLAIN = qw(getty.target timers.target sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount
    sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount); # masked, but no services

sub missing
{
	my $why = Weft::VM::missing();
	return $why if $why;
	my @missing = grep { !tool($_) } @NEEDED;
	return @missing ? "@missing missing; 'sudo t/packages check' installs what the tests need" : undef;
}

# The files of a package but for what nobody reads there.
sub package_files
{
	my ($package) = @_;
	my @paths = split(/\n/, run_ok('dpkg', '-L', $package));
	return grep { !m{^/usr/share/(?:man|doc|locale|info|lintian|bash-completion|zsh)/|/hwdb\.d/} && (-l || -f) } @paths;
}

sub file_take
{
	my ($path, $root) = @_;
	my $to = "$root$path";
	make_path(dirname($to));
	return if -e $to || -l $to;
	return symlink(readlink($path), $to) if -l $path;
	copy($path, $to) or die "$path to $to: $!\n";
	chmod((stat $path)[2] & 07777, $to);
	return;
}

sub is_elf
{
	my ($path) = @_;
	open(my $fh, '<:raw', $path) or return 0;
	read($fh, my $magic, 4);
	return ($magic // '') eq "\x7fELF";
}

# Each library as a file of the name that it is looked for under.
sub libraries_take
{
	my ($root, @files) = @_;
	for my $lib (Weft::VM::libraries(grep { is_elf($_) } @files)) {
		my $to = $root . $lib;
		make_path(dirname($to));
		copy($lib, $to) or die "$lib: $!\n" if !-e $to;
		chmod(0755, $to);
	}
	return;
}

sub users_write
{
	my ($root) = @_;
	spew("$root/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nsshd:x:101:65534::/run/sshd:/bin/false\n"
	    . "nobody:x:65534:65534::/:/bin/false\n");
	my @groups = qw(root tty disk kmem input render sgx video audio lp cdrom tape dialout kvm utmp systemd-journal);
	my $n = 0;
	spew("$root/etc/group", join('', map { "$_:x:" . $n++ . ":\n" } @groups) . "nogroup:x:65534:\n");
	spew("$root/etc/shadow", "root:*:19000:0:99999:7:::\n");
	spew("$root/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n");
	spew("$root/etc/shells", "/bin/sh\n");
	return;
}

sub units_write
{
	my ($root) = @_;
	my $etc = "$root/etc/systemd/system";
	make_path("$etc/multi-user.target.wants");
	symlink('/dev/null', "$etc/$_") for @PLAIN, map { "$_.service" } @MASKED;
	symlink('/lib/systemd/system/multi-user.target', "$etc/default.target");
	spew("$etc/weft-test.service", <<'UNIT');
[Unit]
Description=the script of the test
StartLimitIntervalSec=0
[Service]
Environment=HOME=/root LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/bin/sh -c 'exec </dev/ttyS1 >/dev/ttyS1 2>&1; . /etc/vm-functions; (. /script); echo weft-vm-exit $?; stty -F /dev/ttyS1 raw'
ExecStopPost=-/usr/bin/systemctl --no-block poweroff
UNIT
	symlink('/etc/systemd/system/weft-test.service', "$etc/multi-user.target.wants/weft-test.service");
	make_path("$root/etc/systemd");
	spew("$root/etc/systemd/system.conf", "[Manager]\nDefaultTimeoutStopSec=60\nLogLevel=notice\n");
	return;
}

sub tree_make
{
	my ($root) = @_;
	make_path(map { "$root/$_" } qw(usr/bin usr/sbin usr/lib usr/lib64 proc sys dev tmp run root mnt etc/ssh var/log
	    var/lib var/empty usr/local/etc));
	symlink("usr/$_", "$root/$_") for qw(bin sbin lib lib64);
	chmod(01777, "$root/tmp");
	my @files = map { package_files($_) } @PACKAGES;
	my @programs = grep { defined } map { tool($_) } @PROGRAMS;
	file_take($_, $root) for @files;
	for my $path (@programs) {
		my $to = "$root/usr/" . ($path =~ m{sbin/} ? 'sbin/' : 'bin/') . basename($path);
		copy($path, $to) or die "$path: $!\n" if !-e $to && !-l $to;
		chmod(0755, $to);
	}
	copy(tool('busybox'), "$root/usr/bin/busybox") or die "busybox: $!\n";
	chmod(0755, "$root/usr/bin/busybox");
	for my $name (split(/\n/, run_ok('busybox', '--list'))) {
		symlink('/usr/bin/busybox', "$root/usr/bin/$name") if !-e "$root/usr/bin/$name" && !-e "$root/usr/sbin/$name";
	}
	run_ok({ timeout => 300 }, 'make', '-s', '-C', build_dir(), 'install', "DESTDIR=$root");
	my @ours = split(/\n/, run_ok('find', "$root/usr/local", '-type', 'f', '-perm', '/111'));
	my @loaded = grep { -e } map { glob("/usr/lib/*-linux-gnu/$_") } qw(libisal.so.2 liberasurecode_*.so.1 libXorcode.so.1
	    libnullcode.so.1 libnss_files.so.2 libgcc_s.so.1 libmount.so.1 libkmod.so.2);
	libraries_take($root, (grep { -f } @files), @programs, @ours, @loaded);
	file_take($_, $root) for @loaded;
	file_take($_, $root) for grep { -e } '/etc/mke2fs.conf', map { glob($_) } '/usr/lib/file/magic.mgc', '/usr/share/misc/magic.mgc';
	users_write($root);
	units_write($root);
	spew("$root/etc/hostname", "weft\n");
	spew("$root/etc/hosts", "127.0.0.1 localhost weft\n");
	spew("$root/etc/fstab", "/dev/vda / ext4 defaults 0 0\n");
	spew("$root/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
	spew("$root/etc/os-release", "ID=weft-test\nPRETTY_NAME=weft-test\n");
	return;
}

# sshd with a key for root, and what an ssh client of this machine needs to be let in: in /etc/weft-ssh.
sub ssh_write
{
	my ($root) = @_;
	make_path("$root/root/.ssh", "$root/etc/weft");
	my @key = (tool('ssh-keygen'), '-q', '-t', 'ed25519', '-N', '', '-f');
	run_ok(@key, "$root/etc/ssh/ssh_host_ed25519_key");
	run_ok(@key, "$root/etc/weft/id_ed25519");
	copy("$root/etc/weft/id_ed25519.pub", "$root/root/.ssh/authorized_keys") or die $!;
	chmod(0600, "$root/root/.ssh/authorized_keys");
	chmod(0700, "$root/root/.ssh", "$root/root");
	my ($type, $host) = split(/ /, slurp("$root/etc/ssh/ssh_host_ed25519_key.pub"));
	spew("$root/etc/weft/known_hosts", "weft,localhost,127.0.0.1 $type $host\n");
	spew("$root/etc/ssh/sshd_config", "UsePAM no\nPermitRootLogin prohibit-password\nHostKey /etc/ssh/ssh_host_ed25519_key\n");
	return;
}

# The disk as a file in $dir. $more is called with the folder of what will be on it.
sub disk_make
{
	my ($dir, $more) = @_;
	my $root = "$dir/root";
	tree_make($root);
	ssh_write($root);
	$more->($root) if $more;
	spew("$root/etc/vm-functions", Weft::VM::functions());
	spew("$root/script", "exit 0\n");
	run_ok({ timeout => 300 }, tool('mkfs.ext4'), '-q', '-F', '-E', 'root_owner=0:0', '-d', $root, "$dir/disk", DISK_SIZE);
	remove_tree($root);
	return "$dir/disk";
}

# In the initramfs, with the modules loaded: on to the disk.
my $INIT = <<'END';
mount -t ext4 /dev/vda /mnt || fail 'the disk cannot be mounted'
cp /script /mnt/script
stty -F /dev/ttyS1 raw -echo
exec switch_root /mnt /lib/systemd/systemd
END

# Boots the disk and runs a script in it; options as those of Weft::VM::vm_run. Returns its exit code.
sub boot
{
	my ($disk, %opt) = @_;
	return Weft::VM::vm_run(modules => ['virtio_blk'], bare => 1, disk => $disk, init => $INIT, memory => '1G',
		end_timeout => 120, %opt);
}

1;
