// How much a volume can hold: an extent needs k + m servers that each have room for one shard. Pure.

export const SHARD = 4 << 20;

// The largest number of extents that fit: with N of them no server can hold more than N shards.
export function extentsThatFit(freeBytes, shards) {
	const rooms = freeBytes.map((f) => Math.floor(f / SHARD));
	if (rooms.length < shards)
		return 0;
	let low = 0, high = Math.floor(rooms.reduce((a, b) => a + b, 0) / shards);
	while (low < high) {
		const n = Math.ceil((low + high) / 2);
		if (rooms.reduce((sum, r) => sum + Math.min(r, n), 0) >= n * shards)
			low = n;
		else
			high = n - 1;
	}
	return low;
}

export function usableBytes(freeBytes, k, m) {
	return extentsThatFit(freeBytes, k + m) * k * SHARD;
}

// What the loss of a whole host may take of one extent, when shards are spread over hosts as evenly as can be.
export function worstHost(serversPerHost, shards) {
	const left = [...serversPerHost], taken = left.map(() => 0);
	for (let i = 0; i < shards; i++) {
		let best = -1;
		for (let h = 0; h < left.length; h++)
			if (left[h] > 0 && (best < 0 || taken[h] < taken[best]))
				best = h;
		if (best < 0)
			return shards;
		left[best]--;
		taken[best]++;
	}
	return Math.max(0, ...taken);
}
