//! Numbers in an order that somebody else decides, found by rank in logarithmic time: a B-tree that counts.
//!
//! The tree compares nothing itself. Who puts a number in says at which rank, and finds that rank with
//! [`Sequence::partition`], which asks about a handful of numbers on the way down. Every branch knows how much is below it
//! and what comes first there. Rows have their full room from the beginning, so that the size is a matter of counting them.

/// Numbers in a leaf.
const LEAF: usize = 64;
/// Branches of an inner node.
const FANOUT: usize = 32;
/// A row with less than this part of its room is joined with its neighbour.
const SPARSE: usize = 4;

/// Numbers in order. See the module's text.
pub(super) struct Sequence {
    root: Node,
    len: usize,
    census: Census,
}

enum Node {
    Leaf(Vec<u32>),
    Inner(Vec<Branch>),
}

/// A node with what its parent must know of it.
struct Branch {
    node: Node,
    count: u32,
    first: u32,
}

/// How many nodes there are.
struct Census {
    leaves: usize,
    inners: usize,
}

impl Default for Sequence {
    fn default() -> Sequence {
        Sequence { root: Node::leaf(), len: 0, census: Census { leaves: 1, inners: 0 } }
    }
}

impl Clone for Sequence {
    /// A copy has all the room that its rows may need, which copies of the rows alone would not.
    fn clone(&self) -> Sequence {
        let mut copy = Sequence::default();
        while copy.len < self.len {
            for number in self.row_from(copy.len) {
                copy.insert(copy.len, *number);
            }
        }
        copy
    }
}

impl Sequence {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes that it takes on the heap.
    pub fn size(&self) -> usize {
        self.census.leaves * LEAF * size_of::<u32>() + self.census.inners * FANOUT * size_of::<Branch>()
    }

    /// Puts a number in, before the one that has this rank now.
    pub fn insert(&mut self, rank: usize, number: u32) {
        debug_assert!(rank <= self.len);
        self.len += 1;
        if let Some(right) = self.root.insert(rank, number, &mut self.census) {
            let mut row = Vec::with_capacity(FANOUT);
            row.push(Branch::of(std::mem::replace(&mut self.root, Node::leaf())));
            row.push(Branch::of(right));
            self.root = Node::Inner(row);
            self.census.inners += 1;
        }
    }

    /// Takes the number of a rank out. There must be one.
    pub fn remove(&mut self, rank: usize) -> u32 {
        debug_assert!(rank < self.len);
        self.len -= 1;
        let number = self.root.remove(rank, &mut self.census);
        while let Node::Inner(row) = &mut self.root
            && row.len() <= 1
        {
            self.census.inners -= 1;
            self.root = match row.pop() {
                Some(only) => only.node,
                None => {
                    self.census.leaves += 1;
                    Node::leaf()
                }
            };
        }
        number
    }

    /// Frees the rows of so many numbers; `false` when nothing is left. It is of no use afterwards.
    pub fn wreck(&mut self, most: usize) -> bool {
        let mut leaves = most.div_ceil(LEAF);
        self.root.wreck(&mut leaves)
    }

    /// Puts another number in the place of the one that has this rank.
    pub fn set(&mut self, rank: usize, number: u32) {
        debug_assert!(rank < self.len);
        self.root.set(rank, number);
    }

    /// Some numbers in a row, from this rank on; none only behind the last.
    pub fn row_from(&self, rank: usize) -> &[u32] {
        let (leaf, within) = self.leaf(rank);
        leaf.get(within..).unwrap_or_default()
    }

    /// Some numbers in a row, of which the last has this rank; none only if no number has it.
    pub fn row_to(&self, rank: usize) -> &[u32] {
        let (leaf, within) = self.leaf(rank);
        leaf.get(..=within).unwrap_or_default()
    }

    /// The leaf that a rank lies in, and where.
    fn leaf(&self, mut rank: usize) -> (&[u32], usize) {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(row) => return (row, rank),
                Node::Inner(row) => {
                    let (at, within) = seek(row, rank);
                    (node, rank) = (&row[at].node, within);
                }
            }
        }
    }

    /// How many numbers at the beginning `before` says yes to; behind the first no there must be no yes.
    pub fn partition(&self, mut before: impl FnMut(u32) -> bool) -> usize {
        let (mut node, mut rank) = (&self.root, 0);
        loop {
            match node {
                Node::Leaf(row) => return rank + row.partition_point(|number| before(*number)),
                Node::Inner(row) => {
                    // What is looked for lies below the last branch that begins before it.
                    let at = row.partition_point(|branch| before(branch.first)).saturating_sub(1);
                    rank += row[..at].iter().map(|branch| branch.count as usize).sum::<usize>();
                    node = &row[at].node;
                }
            }
        }
    }

    /// Checks all that the tree promises. For tests.
    #[cfg(test)]
    pub fn validate(&self) {
        let mut found = Census { leaves: 0, inners: 0 };
        assert_eq!(self.root.validate(&mut found), self.len);
        assert_eq!((found.leaves, found.inners), (self.census.leaves, self.census.inners));
    }
}

impl Branch {
    fn of(node: Node) -> Branch {
        Branch { count: node.count(), first: node.first(), node }
    }
}

impl Node {
    fn leaf() -> Node {
        Node::Leaf(Vec::with_capacity(LEAF))
    }

    /// Frees the last leaves, so many at most, and the branches that are then bare; `false` when nothing is below it.
    fn wreck(&mut self, leaves: &mut usize) -> bool {
        let Node::Inner(row) = self else {
            *leaves = leaves.saturating_sub(1);
            return false;
        };
        while *leaves > 0
            && let Some(last) = row.last_mut()
        {
            if !last.node.wreck(leaves) {
                row.pop();
            }
        }
        !row.is_empty()
    }

    fn count(&self) -> u32 {
        match self {
            Node::Leaf(row) => row.len() as u32,
            Node::Inner(row) => row.iter().map(|branch| branch.count).sum(),
        }
    }

    /// The number that comes first; any of an empty node.
    fn first(&self) -> u32 {
        match self {
            Node::Leaf(row) => row.first().copied().unwrap_or_default(),
            Node::Inner(row) => row.first().map_or(0, |branch| branch.first),
        }
    }

    fn is_sparse(&self) -> bool {
        match self {
            Node::Leaf(row) => row.len() < LEAF / SPARSE,
            Node::Inner(row) => row.len() < FANOUT / SPARSE,
        }
    }

    /// Puts a number in. What no longer fits comes back as a node to the right of this one.
    fn insert(&mut self, rank: usize, number: u32, census: &mut Census) -> Option<Node> {
        match self {
            Node::Leaf(row) => {
                let right = Node::Leaf(place(row, rank, number, LEAF)?);
                census.leaves += 1;
                Some(right)
            }
            Node::Inner(row) => {
                let (at, within) = seek(row, rank);
                let branch = &mut row[at];
                let Some(right) = branch.node.insert(within, number, census) else {
                    branch.count += 1;
                    branch.first = branch.node.first();
                    return None;
                };
                (branch.count, branch.first) = (branch.node.count(), branch.node.first());
                let right = Node::Inner(place(row, at + 1, Branch::of(right), FANOUT)?);
                census.inners += 1;
                Some(right)
            }
        }
    }

    fn remove(&mut self, rank: usize, census: &mut Census) -> u32 {
        let row = match self {
            Node::Leaf(row) => return row.remove(rank),
            Node::Inner(row) => row,
        };
        let (at, within) = seek(row, rank);
        let branch = &mut row[at];
        let number = branch.node.remove(within, census);
        branch.count -= 1;
        branch.first = branch.node.first();
        if branch.count == 0 {
            census.forget(&row.remove(at).node);
        } else if branch.node.is_sparse() && row.len() > 1 {
            fuse(row, at.min(row.len() - 2), census);
        }
        number
    }

    fn set(&mut self, rank: usize, number: u32) {
        match self {
            Node::Leaf(row) => row[rank] = number,
            Node::Inner(row) => {
                let (at, within) = seek(row, rank);
                row[at].node.set(within, number);
                row[at].first = row[at].node.first();
            }
        }
    }

    #[cfg(test)]
    fn validate(&self, found: &mut Census) -> usize {
        match self {
            Node::Leaf(row) => {
                found.leaves += 1;
                assert_eq!(row.capacity(), LEAF);
                row.len()
            }
            Node::Inner(row) => {
                found.inners += 1;
                assert_eq!(row.capacity(), FANOUT);
                let below = |branch: &Branch| {
                    assert_eq!(branch.first, branch.node.first());
                    assert!(branch.count > 0 && branch.count as usize == branch.node.validate(found));
                    branch.count as usize
                };
                row.iter().map(below).sum()
            }
        }
    }
}

impl Census {
    fn forget(&mut self, node: &Node) {
        match node {
            Node::Leaf(_) => self.leaves -= 1,
            Node::Inner(_) => self.inners -= 1,
        }
    }
}

/// The branch that a rank lies below, and the rank there. What is behind all others lies below the last.
fn seek(row: &[Branch], mut rank: usize) -> (usize, usize) {
    let last = row.len().saturating_sub(1);
    for (at, branch) in row.iter().enumerate() {
        let count = branch.count as usize;
        if rank < count || at == last {
            return (at, rank);
        }
        rank -= count;
    }
    (last, rank)
}

/// Puts something into a row. If that is full, its second half comes back, or, so that what is filled from behind becomes
/// full rows, the new thing alone.
fn place<T>(row: &mut Vec<T>, at: usize, new: T, room: usize) -> Option<Vec<T>> {
    if row.len() < room {
        row.insert(at, new);
        return None;
    }
    let cut = if at == room { room } else { room / 2 };
    let mut right = Vec::with_capacity(room);
    right.extend(row.drain(cut..));
    if at <= cut && cut < room {
        row.insert(at, new)
    } else {
        right.insert(at - cut, new)
    }
    Some(right)
}

/// Joins a branch with the next one, or evens them out.
fn fuse(row: &mut Vec<Branch>, at: usize, census: &mut Census) {
    let next = row.remove(at + 1).node;
    let rest = match (&mut row[at].node, next) {
        (Node::Leaf(left), Node::Leaf(right)) => join(left, right, LEAF).map(Node::Leaf),
        (Node::Inner(left), Node::Inner(right)) => join(left, right, FANOUT).map(Node::Inner),
        _ => unreachable!("all leaves are equally deep"),
    };
    (row[at].count, row[at].first) = (row[at].node.count(), row[at].node.first());
    match rest {
        Some(rest) => row.insert(at + 1, Branch::of(rest)),
        None => census.forget(&row[at].node),
    }
}

/// Adds a row to another; if that is too much for one, both have half of it then.
fn join<T>(left: &mut Vec<T>, mut right: Vec<T>, room: usize) -> Option<Vec<T>> {
    let sum = left.len() + right.len();
    if sum <= room {
        left.append(&mut right);
        return None;
    }
    let half = sum / 2;
    if left.len() < half {
        left.extend(right.drain(..half - left.len()));
    } else {
        let tail = left.split_off(half);
        right.splice(0..0, tail);
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(sequence: &Sequence) -> Vec<u32> {
        let (mut all, mut backwards): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        while all.len() < sequence.len() {
            all.extend(sequence.row_from(all.len()));
        }
        while backwards.len() < sequence.len() {
            backwards.extend(sequence.row_to(sequence.len() - 1 - backwards.len()).iter().rev());
        }
        backwards.reverse();
        assert_eq!(all, backwards);
        all
    }

    #[test]
    fn it_is_a_row_of_numbers_whatever_happens_to_it() {
        let (mut sequence, mut model) = (Sequence::default(), Vec::new());
        let mut dice = 1u64;
        let mut roll = |sides: usize| {
            dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (dice >> 33) as usize % sides
        };
        for phase in 0..12 {
            let grows = phase % 3 != 2;
            for step in 0..2500 {
                if model.is_empty() || roll(10) < if grows { 8 } else { 1 } {
                    let rank = match phase % 4 {
                        0 => model.len(),
                        1 => 0,
                        _ => roll(model.len() + 1),
                    };
                    sequence.insert(rank, step);
                    model.insert(rank, step);
                } else if roll(20) == 0 {
                    let rank = roll(model.len());
                    sequence.set(rank, step);
                    model[rank] = step;
                } else {
                    let rank = if phase % 2 == 0 { roll(model.len()) } else { 0 };
                    assert_eq!(sequence.remove(rank), model.remove(rank));
                }
                if step % 50 == 0 {
                    sequence.validate();
                    let rank = roll(model.len() + 2);
                    assert_eq!(sequence.row_from(rank).first(), model.get(rank));
                }
            }
            assert_eq!(numbers(&sequence), model);
            let copy = sequence.clone();
            copy.validate();
            assert_eq!(numbers(&copy), model);
        }
        while !model.is_empty() {
            let rank = roll(model.len());
            assert_eq!(sequence.remove(rank), model.remove(rank));
            sequence.validate();
        }
        assert_eq!(sequence.size(), Sequence::default().size());
    }

    #[test]
    fn it_is_parted_anywhere() {
        let mut sequence = Sequence::default();
        for number in 0..5000 {
            sequence.insert(number as usize, number);
        }
        for bound in 0..=5000 {
            assert_eq!(sequence.partition(|number| number < bound), bound as usize);
        }
        assert!(sequence.size() < 5000 * 6, "what is filled from behind is full");
    }
}
