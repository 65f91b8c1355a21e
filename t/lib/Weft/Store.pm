# Looking into the file of a store from outside, as weft-format(5) describes it: where a block of a slot
# lies, so that tests can damage it as a failing disk would.
package Weft::Store;

use strict;
use warnings;

use Fcntl qw(O_RDWR O_DIRECT);

use constant {
	BLOCK => 4096, GRANULE => 65536, SHARD => 4 << 20, ENTRY => 72, LABEL => 128,
};

sub _read
{
	my ($fh, $at, $len) = @_;
	sysseek($fh, $at, 0);
	my $n = sysread($fh, my $bytes, $len);
	defined $n && $n == $len or die "the store is too short\n";
	return $bytes;
}

sub open
{
	my ($class, $path) = @_;
	CORE::open(my $fh, '+<:raw', $path) or die "$path: $!\n";
	my $super = _read($fh, 0, BLOCK);
	substr($super, 0, 8) eq 'weftstor' or die "$path: this is no store\n";
	my ($meta) = unpack('Q<', substr($super, 88));
	my ($labels, $map) = unpack('Q<Q<', substr($super, 104));
	my ($data) = unpack('Q<', substr($super, 136));
	my ($slots) = unpack('Q<', substr($super, 152));
	# as nbdsrv does: when pages that others made dirty are in the way of a direct write, Linux lets the next sync fail
	my $direct = sysopen(my $probe, $path, O_RDWR | O_DIRECT);
	return bless { fh => $fh, path => $path, direct => $direct, labels => $meta + $labels, map => $meta + $map, data => $data,
		slots => $slots }, $class;
}

# Where byte $byte of a slot is in the file; undef when its block is not there (yet): it waits in the
# log, or is zeros.
sub where
{
	my ($self, $slot, $byte) = @_;
	my $block = int($byte / BLOCK) % (GRANULE / BLOCK);
	my $entry = $slot * (SHARD / GRANULE) + int($byte / GRANULE);
	my ($phys, $present) = unpack('L<S<', _read($self->{fh}, $self->{map} + $entry * ENTRY, ENTRY));
	return undef if !$phys || !($present >> $block & 1);
	return $self->{data} + ($phys - 1) * GRANULE + $byte % GRANULE;
}

# The block with this byte, by dd, which has aligned memory.
sub _block
{
	my ($self, $at, $bytes) = @_;
	my $write = defined $bytes;
	my @flag = $self->{direct} ? ($write ? 'oflag=direct' : 'iflag=direct') : ();
	my @dd = ('dd', 'bs=' . BLOCK, 'count=1', 'status=none', 'conv=notrunc', @flag,
		$write ? ("of=$self->{path}", 'seek=' . int($at / BLOCK)) : ("if=$self->{path}", 'skip=' . int($at / BLOCK)));
	CORE::open(my $dd, $write ? '|-:raw' : '-|:raw', @dd) or die "dd: $!\n";
	if ($write) {
		print {$dd} $bytes;
	} else {
		local $/ = undef;
		$bytes = <$dd>;
	}
	close($dd) && length $bytes == BLOCK or die "$self->{path}: a block at $at cannot be reached\n";
	return $bytes;
}

# Other bytes in the block than were written there.
sub damage
{
	my ($self, $slot, $byte) = @_;
	my $at = $self->where($slot, $byte) // die "byte $byte of slot $slot is not on the disk\n";
	my $bytes = $self->_block($at);
	substr($bytes, $at % BLOCK, 64) ^= "\x5a" x 64;
	$self->_block($at, $bytes);
	return;
}

1;
