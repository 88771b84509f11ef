#include "exchange.h"

#include "collective.h"

#include "atom.h"
#include "comm.h"

#include <algorithm>
#include <climits>
#include <cstddef>
#include <stdexcept>

namespace fitsnap_nn {

void Exchange::begin_step(const NeighborArrays &neighbors, double cutoff) {
  failed_rank_ = -1;
  neighbors_ = &neighbors;
  cutoff_ = cutoff;
  edges_matched_ = false;
}

void Exchange::request(ExchangeKind kind, const FeatureMatrix &features) {
  if (lmp_->comm->nprocs > 1) {
    if (failed_rank_ < 0 && !agree(kind, features.width, false).consistent)
      throw std::runtime_error("the ranks request different exchanges in the same step. Each rank must run the same "
                               "model and call the same exchanges in the same order");
    // A model may catch the exception of a failed exchange and ask for another: it must not wait for the failed rank.
    if (failed_rank_ >= 0)
      throw std::runtime_error("exchange cancelled because rank " + std::to_string(failed_rank_) + " failed");
  }
  perform(kind, features);
}

void Exchange::finish_step(const std::string &failure) {
  const bool failed = !failure.empty();
  if (lmp_->comm->nprocs == 1) {
    if (failed)
      error_on_all_ranks(lmp_, 0, failure);
    return;
  }
  while (failed_rank_ < 0) {
    const Agreement next = agree(ExchangeKind::finish, 0, failed);
    if (failed_rank_ >= 0)
      break;
    if (next.kind == ExchangeKind::finish)
      return;
    // An inconsistent request throws on the ranks that made it; they report it as a failure in the next agreement.
    if (next.consistent)
      perform(next.kind, {nullptr, next.width});
  }
  error_on_all_ranks(lmp_, failed_rank_, failure);
}

Exchange::Agreement Exchange::agree(ExchangeKind kind, int width, bool failed) {
  // A single MPI_MIN yields the lowest failed rank, and maximum (as the minimum of the negative) and minimum of kind
  // and width over the ranks that request an exchange. The request is consistent if maximum and minimum agree.
  const int number = static_cast<int>(kind);
  const bool requests = kind != ExchangeKind::finish;
  const int mine[] = {failed ? lmp_->comm->me : INT_MAX, -number, requests ? number : INT_MAX, -width,
                      requests ? width : INT_MAX};
  int all[5];
  MPI_Allreduce(mine, all, 5, MPI_INT, MPI_MIN, lmp_->world);
  if (all[0] != INT_MAX)
    failed_rank_ = all[0];
  const bool no_requests = all[1] == 0;
  return {static_cast<ExchangeKind>(-all[1]), -all[3], no_requests || (-all[1] == all[2] && -all[3] == all[4])};
}

void Exchange::perform(ExchangeKind kind, const FeatureMatrix &features) {
  if (kind == ExchangeKind::edges) {
    if (!edges_matched_)
      match_edges();
    edges_.gather_reverse_edges(features);
    return;
  }
  // LAMMPS calls back into pack and unpack of the pair style, which read the exchange in progress from the members.
  features_ = features;
  for (first_column_ = 0; first_column_ < features.width; first_column_ += chunk) {
    columns_ = std::min(chunk, features.width - first_column_);
    if (kind == ExchangeKind::forward)
      lmp_->comm->forward_comm(pair_, columns_);
    else
      lmp_->comm->reverse_comm(pair_, columns_);
  }
  if (kind == ExchangeKind::reverse)
    zero_ghosts();
  features_ = {};
}

void Exchange::match_edges() {
  // Each ghost learns its owner by a forward communication of (rank, row): an atom ID does not tell the owner's rank.
  std::vector<EdgeExchange::OwnerSlot> owners(neighbors_->atoms());
  for (int row = 0; row < neighbors_->local(); ++row)
    owners[row] = {double(lmp_->comm->me), double(row)};
  perform(ExchangeKind::forward, {owners.data(), 2, false, neighbors_->row_of().data()});
  edges_.match_reverse_edges(*neighbors_, owners, cutoff_);
  edges_matched_ = true;
}

void Exchange::zero_ghosts() {
  first_column_ = 0;
  const int local = lmp_->atom->nlocal;
  with_element_type(features_, [&](auto *data) {
    for (int atom = local; atom < local + lmp_->atom->nghost; ++atom)
      if (auto *ghost = row(data, atom))
        std::fill_n(ghost, features_.width, 0);
  });
}

// The columns of an atom in the message in progress; null if this rank or the atom has no features.
template <class T> T *Exchange::row(T *data, int atom) const {
  const std::ptrdiff_t index = features_.row_of ? features_.row_of[atom] : atom;
  return data && index >= 0 ? data + index * features_.width + first_column_ : nullptr;
}

// Packs the rows of the atoms atom(0) to atom(count - 1). An atom without a row sends zeros: the receiver expects a
// fixed number of doubles per atom.
template <class T, class Atom> void Exchange::pack(T *data, int count, Atom atom, double *buffer) const {
  for (int k = 0; k < count; ++k) {
    const T *source = row(data, atom(k));
    buffer = source ? std::copy_n(source, columns_, buffer) : std::fill_n(buffer, columns_, 0.0);
  }
}

int Exchange::pack_forward(int count, const int *atoms, double *buffer) const {
  with_element_type(features_, [&](auto *data) { pack(data, count, [&](int k) { return atoms[k]; }, buffer); });
  return count * columns_;
}

int Exchange::pack_reverse(int count, int first, double *buffer) const {
  with_element_type(features_, [&](auto *data) { pack(data, count, [&](int k) { return first + k; }, buffer); });
  return count * columns_;
}

void Exchange::unpack_forward(int count, int first, const double *buffer) const {
  with_element_type(features_, [&](auto *data) {
    for (int k = 0; k < count; ++k, buffer += columns_)
      if (auto *target = row(data, first + k))
        std::copy_n(buffer, columns_, target);
  });
}

void Exchange::unpack_reverse(int count, const int *atoms, const double *buffer) const {
  with_element_type(features_, [&](auto *data) {
    for (int k = 0; k < count; ++k, buffer += columns_)
      if (auto *target = row(data, atoms[k]))
        for (int column = 0; column < columns_; ++column)
          target[column] += buffer[column];
  });
}

}    // namespace fitsnap_nn
