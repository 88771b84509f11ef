// Exchange of features between ranks, called from inside a model at any point of its computation.

#ifndef FITSNAP_NN_EXCHANGE_H
#define FITSNAP_NN_EXCHANGE_H

#include "edge_exchange.h"
#include "feature_matrix.h"
#include "neighbor_arrays.h"

#include "pair.h"

#include <string>

namespace fitsnap_nn {

enum class ExchangeKind : int {
  finish,     // no exchange: the model of this rank has returned
  forward,    // copy the rows of local atoms to their ghosts
  reverse,    // add the rows of ghosts to those of their owners, then zero them
  edges       // give each pair i->j the row of the pair j->i
};

// LAMMPS' communication is collective, but models decide at run time how many exchanges they do, and a rank without
// atoms may do none. The ranks therefore agree on the next exchange before each one, by a small reduction. A rank whose
// model has returned takes part in the exchanges of the others until all have finished. The same reduction carries
// failures, so that no rank waits for one that has raised an exception.
class Exchange {
 public:
  // Columns per message. LAMMPS sizes its buffers by it (Pair::comm_forward); wider features need several messages.
  static constexpr int chunk = 64;

  // `pair` must forward its pack and unpack functions to this object.
  Exchange(LAMMPS_NS::LAMMPS *lmp, LAMMPS_NS::Pair *pair) : lmp_(lmp), pair_(pair), edges_(lmp) {}

  // Declares the rows of this step.
  void begin_step(const NeighborArrays &neighbors, double cutoff);

  // An exchange that a model asks for, on any subset of the ranks. Throws if a rank failed or asks for another
  // exchange.
  void request(ExchangeKind kind, const FeatureMatrix &features);

  // An exchange outside the models. Collective, without agreement.
  void perform(ExchangeKind kind, const FeatureMatrix &features);

  // Takes part in exchanges until all ranks have finished; raises a LAMMPS error on all ranks if one failed.
  // Collective.
  void finish_step(const std::string &failure);

  int pack_forward(int count, const int *atoms, double *buffer) const;
  void unpack_forward(int count, int first, const double *buffer) const;
  int pack_reverse(int count, int first, double *buffer) const;
  void unpack_reverse(int count, const int *atoms, const double *buffer) const;

 private:
  struct Agreement {
    ExchangeKind kind;
    int width;
    bool consistent;    // all ranks that ask for an exchange ask for the same one
  };

  Agreement agree(ExchangeKind kind, int width, bool failed);
  void match_edges();
  void zero_ghosts();
  template <class T> T *row(T *data, int atom) const;
  template <class T, class Atom> void pack(T *data, int count, Atom atom, double *buffer) const;

  LAMMPS_NS::LAMMPS *lmp_;
  LAMMPS_NS::Pair *pair_;
  const NeighborArrays *neighbors_ = nullptr;
  double cutoff_ = 0.0;
  EdgeExchange edges_;
  bool edges_matched_ = false;    // in this step
  int failed_rank_ = -1;          // lowest rank that failed in this step
  FeatureMatrix features_;        // of the exchange in progress
  int first_column_ = 0;          // of the message in progress
  int columns_ = 0;
};

}    // namespace fitsnap_nn

#endif
