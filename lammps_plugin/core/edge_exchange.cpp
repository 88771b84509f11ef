#include "edge_exchange.h"

#include "comm.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace fitsnap_nn {
namespace {

// A pair i->j, sent by the owner of i, as the owner of j identifies it among its own pairs. Rows alone are ambiguous in
// a small periodic cell, where two atoms form several pairs through different images; the vector tells them apart.
// All fields are doubles, so that one message of MPI_DOUBLE carries the key.
struct PairKey {
  double row_j, row_i, vector[3];
};
constexpr int key_width = sizeof(PairKey) / sizeof(double);

// Ghost positions differ from their owners' by a box length and by rounding. The tolerance relative to the cutoff is
// far above rounding and far below the distance between two images.
constexpr double tolerance = 1e-6;

// Exclusive prefix sum with the total at the end: the displacements of MPI_Alltoallv.
std::vector<int> offsets(const std::vector<int> &counts) {
  std::vector<int> result(counts.size() + 1, 0);
  std::partial_sum(counts.begin(), counts.end(), result.begin() + 1);
  return result;
}

// First pair of each local atom.
std::vector<int> first_pairs(const NeighborArrays &neighbors) {
  std::vector<int> counts(neighbors.local(), 0);
  for (int centre = 0; centre < neighbors.centres(); ++centre)
    counts[neighbors.centre_atoms.data()[centre]] = neighbors.centre_pairs.data()[centre];
  return offsets(counts);
}

// Squared length of a + b, which vanishes for the vectors of a pair and of its reverse.
double squared_sum(const double *a, const double *b) {
  return (a[0] + b[0]) * (a[0] + b[0]) + (a[1] + b[1]) * (a[1] + b[1]) + (a[2] + b[2]) * (a[2] + b[2]);
}

}    // namespace

void EdgeExchange::match_reverse_edges(const NeighborArrays &neighbors, const std::vector<OwnerSlot> &owners,
                                       double cutoff) {
  const int *pair_i = neighbors.pair_i.data(), *pair_j = neighbors.pair_j.data();
  const double *vectors = neighbors.vectors.data();

  send_counts_.assign(lmp_->comm->nprocs, 0);
  for (int pair = 0; pair < neighbors.pairs(); ++pair)
    ++send_counts_[int(owners[pair_j[pair]].rank)];
  receive_counts_.resize(send_counts_.size());
  MPI_Alltoall(send_counts_.data(), 1, MPI_INT, receive_counts_.data(), 1, MPI_INT, lmp_->world);

  // Counting sort by the owner of the second atom.
  std::vector<int> next = offsets(send_counts_);
  send_pairs_.resize(neighbors.pairs());
  std::vector<PairKey> keys(neighbors.pairs());
  for (int pair = 0; pair < neighbors.pairs(); ++pair) {
    const OwnerSlot owner = owners[pair_j[pair]];
    const int position = next[int(owner.rank)]++;
    const double *vector = vectors + 3 * std::ptrdiff_t(pair);
    send_pairs_[position] = pair;
    keys[position] = {owner.row, double(pair_i[pair]), {vector[0], vector[1], vector[2]}};
  }
  const std::vector<int> received = offsets(receive_counts_);
  std::vector<PairKey> received_keys(received.back());
  all_to_all(&keys.data()->row_j, &received_keys.data()->row_j, key_width);

  const std::vector<int> first_pair = first_pairs(neighbors);
  receive_pairs_.assign(received_keys.size(), -1);
  for (std::size_t rank = 0; rank < receive_counts_.size(); ++rank)
    for (int k = received[rank]; k < received[rank + 1]; ++k) {
      const PairKey &key = received_keys[k];
      for (int pair = first_pair[int(key.row_j)]; pair < first_pair[int(key.row_j) + 1]; ++pair) {
        const OwnerSlot owner = owners[pair_j[pair]];
        if (owner.row == key.row_i && owner.rank == double(rank) &&
            squared_sum(vectors + 3 * std::ptrdiff_t(pair), key.vector) < tolerance * tolerance * cutoff * cutoff)
          receive_pairs_[k] = pair;
      }
    }
}

void EdgeExchange::gather_reverse_edges(const FeatureMatrix &pairs) const {
  std::vector<double> send_buffer(send_pairs_.size() * chunk), receive_buffer(receive_pairs_.size() * chunk);
  with_element_type(pairs, [&](auto *data) {
    for (int first = 0; first < pairs.width; first += chunk) {
      const int columns = std::min(chunk, pairs.width - first);
      const auto row = [&](int pair) { return data + std::ptrdiff_t(pair) * pairs.width + first; };
      auto next = send_buffer.begin();
      // float32 features travel as doubles: the conversion is exact in both directions.
      for (const int pair : send_pairs_)
        next = data ? std::copy_n(row(pair), columns, next) : std::fill_n(next, columns, 0.0);
      all_to_all(send_buffer.data(), receive_buffer.data(), columns);
      if (!data)
        continue;
      // Every pair is in send_pairs_ once; those that receive nothing keep the zeros.
      for (const int pair : send_pairs_)
        std::fill_n(row(pair), columns, 0);
      for (std::size_t k = 0; k < receive_pairs_.size(); ++k)
        if (receive_pairs_[k] >= 0)
          std::copy_n(receive_buffer.data() + k * columns, columns, row(receive_pairs_[k]));
    }
  });
}

// Sends `width` numbers per pair in send_counts_ to each rank.
void EdgeExchange::all_to_all(const double *send_buffer, double *receive_buffer, int width) const {
  std::vector<int> sent(send_counts_), received(receive_counts_);
  for (auto *counts : {&sent, &received})
    for (int &count : *counts)
      count *= width;
  const std::vector<int> send_offsets = offsets(sent), receive_offsets = offsets(received);
  MPI_Alltoallv(send_buffer, sent.data(), send_offsets.data(), MPI_DOUBLE, receive_buffer, received.data(),
                receive_offsets.data(), MPI_DOUBLE, lmp_->world);
}

}    // namespace fitsnap_nn
