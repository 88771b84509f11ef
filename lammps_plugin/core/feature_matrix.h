// A matrix of features, one row per atom or per pair, in memory that a model owns.

#ifndef FITSNAP_NN_FEATURE_MATRIX_H
#define FITSNAP_NN_FEATURE_MATRIX_H

namespace fitsnap_nn {

struct FeatureMatrix {
  void *data = nullptr;    // null on a rank that only takes part in the communication
  int width = 0;
  bool is_float32 = false;        // float32 instead of float64
  const int *row_of = nullptr;    // row of each LAMMPS atom, -1 for none; null: the row is the LAMMPS index
};

// Calls work(T *data) with the element type of the matrix.
template <class Work> void with_element_type(const FeatureMatrix &features, Work work) {
  if (features.is_float32)
    work(static_cast<float *>(features.data));
  else
    work(static_cast<double *>(features.data));
}

}    // namespace fitsnap_nn

#endif
