#include "edge_exchange.h"

#include "comm.h"

#include <algorithm>
#include <cstddef>
#include <numeric>

namespace fitsnap_nn {
namespace {

// A pair i->j as the rank that owns j needs it; that of i is the one that sends it.
struct Key {
  double row_j, row_i, vector[3];
};
constexpr int key_width = sizeof(Key) / sizeof(double);

// Positions that are moved by a period of the box are rounded; periods are much longer.
constexpr double rounding = 1e-6;

std::vector<int> starts(const std::vector<int> &counts) {
  std::vector<int> result(counts.size() + 1, 0);
  std::partial_sum(counts.begin(), counts.end(), result.begin() + 1);
  return result;
}

std::vector<int> first_pairs(const NeighborArrays &neighbors) {
  std::vector<int> counts(neighbors.own(), 0);
  for (int centre = 0; centre < neighbors.centres(); ++centre)
    counts[neighbors.centre_atoms.data()[centre]] = neighbors.centre_pairs.data()[centre];
  return starts(counts);
}

double squared_sum(const double *a, const double *b) {
  return (a[0] + b[0]) * (a[0] + b[0]) + (a[1] + b[1]) * (a[1] + b[1]) + (a[2] + b[2]) * (a[2] + b[2]);
}

}    // namespace

void EdgeExchange::match(const NeighborArrays &neighbors, const std::vector<Home> &homes, double cutoff) {
  const int *pair_i = neighbors.pair_i.data(), *pair_j = neighbors.pair_j.data();
  const double *vectors = neighbors.vectors.data();

  sent_.assign(lmp_->comm->nprocs, 0);
  for (int pair = 0; pair < neighbors.pairs(); ++pair)
    ++sent_[int(homes[pair_j[pair]].rank)];
  received_.resize(sent_.size());
  MPI_Alltoall(sent_.data(), 1, MPI_INT, received_.data(), 1, MPI_INT, lmp_->world);

  std::vector<int> next = starts(sent_);
  outgoing_.resize(neighbors.pairs());
  std::vector<Key> keys(neighbors.pairs());
  for (int pair = 0; pair < neighbors.pairs(); ++pair) {
    const Home home = homes[pair_j[pair]];
    const int place = next[int(home.rank)]++;
    const double *vector = vectors + 3 * std::ptrdiff_t(pair);
    outgoing_[place] = pair;
    keys[place] = {home.row, double(pair_i[pair]), {vector[0], vector[1], vector[2]}};
  }
  const std::vector<int> arrivals = starts(received_);
  std::vector<Key> arrived(arrivals.back());
  send(&keys.data()->row_j, &arrived.data()->row_j, key_width);

  const std::vector<int> first_pair = first_pairs(neighbors);
  incoming_.assign(arrived.size(), -1);
  for (std::size_t rank = 0; rank < received_.size(); ++rank)
    for (int k = arrivals[rank]; k < arrivals[rank + 1]; ++k) {
      const Key &key = arrived[k];
      for (int pair = first_pair[int(key.row_j)]; pair < first_pair[int(key.row_j) + 1]; ++pair) {
        const Home home = homes[pair_j[pair]];
        if (home.row == key.row_i && home.rank == double(rank) &&
            squared_sum(vectors + 3 * std::ptrdiff_t(pair), key.vector) < rounding * rounding * cutoff * cutoff)
          incoming_[k] = pair;
      }
    }
}

void EdgeExchange::reverse(const Rows &pairs) const {
  std::vector<double> leaving(outgoing_.size() * chunk), arriving(incoming_.size() * chunk);
  with_type(pairs, [&](auto *base) {
    for (int first = 0; first < pairs.width; first += chunk) {
      const int columns = std::min(chunk, pairs.width - first);
      const auto place = [&](int pair) { return base + std::ptrdiff_t(pair) * pairs.width + first; };
      auto next = leaving.begin();
      for (const int pair : outgoing_)
        next = base ? std::copy_n(place(pair), columns, next) : std::fill_n(next, columns, 0.0);
      send(leaving.data(), arriving.data(), columns);
      if (!base)
        continue;
      for (const int pair : outgoing_)
        std::fill_n(place(pair), columns, 0);
      for (std::size_t k = 0; k < incoming_.size(); ++k)
        if (incoming_[k] >= 0)
          std::copy_n(arriving.data() + k * columns, columns, place(incoming_[k]));
    }
  });
}

// So many numbers for each pair to and from each rank.
void EdgeExchange::send(const double *leaving, double *arriving, int width) const {
  std::vector<int> sent(sent_), received(received_);
  for (auto *counts : {&sent, &received})
    for (int &count : *counts)
      count *= width;
  const std::vector<int> from = starts(sent), to = starts(received);
  MPI_Alltoallv(leaving, sent.data(), from.data(), MPI_DOUBLE, arriving, received.data(), to.data(), MPI_DOUBLE,
                lmp_->world);
}

}    // namespace fitsnap_nn
