"""The papers that a run may rest on, as BibTeX; only those that it used are cited."""

from __future__ import annotations

from dataclasses import dataclass

from ...._version import __released__, __version__


@dataclass(frozen=True)
class Entry:
    """One BibTeX entry; `fields` as they are printed, LaTeX included."""

    key: str
    kind: str
    fields: dict[str, str]

    @property
    def bibtex(self) -> str:
        """The entry as BibTeX."""
        width = max(map(len, self.fields))
        lines = [f"  {name.ljust(width)} = {{{value}}}," for name, value in self.fields.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])

    @property
    def text(self) -> str:
        """The entry as a line of plain text."""
        plain = {name: _plain(value) for name, value in self.fields.items()}
        names, more = _authors(plain)
        where = plain.get("journal") or plain.get("booktitle") or plain.get("howpublished", "")
        authors = ", ".join(map(_given_first, names)) + " et al." * more
        parts = [authors.removesuffix("."), plain["title"]]
        parts += [part for part in (where, plain.get("year", "")) if part]
        return ". ".join(parts) + "."

    @property
    def names(self) -> str:
        """The last names of the authors and the year, as a text cites the work.

        >>> METHODS["pytorch"].names
        'Paszke et al. 2019'
        """
        plain = {name: _plain(value) for name, value in self.fields.items()}
        names, more = _authors(plain)
        last = [name.partition(", ")[0] for name in names]
        if more or len(last) > 3:
            said = f"{last[0]} et al."
        else:
            said = " and ".join([", ".join(last[:-1])] * (len(last) > 1) + last[-1:])
        return " ".join(part for part in (said, plain.get("year", "")) if part)

    @property
    def url(self) -> str:
        """Where the work is found; empty where nowhere in particular."""
        if doi := self.fields.get("doi"):
            return f"https://doi.org/{doi}"
        if eprint := self.fields.get("eprint"):
            return f"https://arxiv.org/abs/{eprint}"
        return self.fields.get("url", "")


def _authors(fields: dict[str, str]) -> tuple[list[str], bool]:
    """The authors as BibTeX has them, and whether there are others."""
    names = fields.get("author", "").split(" and ")
    more = names[-1] == "others"
    return (names[:-1] if more else names), more


def _given_first(author: str) -> str:
    last, comma, first = author.partition(", ")
    return f"{first} {last}" if comma else last


def _plain(value: str) -> str:
    text = value.replace("--", "–").replace(r"\'e", "é").replace(r"\"o", "ö").replace(r"\_", "_")
    return text.replace("{", "").replace("}", "").replace("\\", "")


def _article(key: str, author: str, title: str, year: str, **fields: str) -> Entry:
    return Entry(key, "article", {"author": author, "title": title, **fields, "year": year})


def _inproceedings(key: str, author: str, title: str, book: str, year: str, **more: str) -> Entry:
    fields = {"author": author, "title": title, "booktitle": book, **more, "year": year}
    return Entry(key, "inproceedings", fields)


def _preprint(key: str, author: str, title: str, number: str, year: str) -> Entry:
    """An arXiv entry whose number the plain style of BibTeX prints, too."""
    journal, url = f"arXiv preprint arXiv:{number}", f"https://arxiv.org/abs/{number}"
    return _article(key, author, title, year, journal=journal, url=url)


TOOL = Entry(
    "invariance_probe",
    "misc",
    {
        "author": r"{The invariance\_probe developers}",
        "title": r"{invariance\_probe}",
        "howpublished": f"Software, version {__version__}",
        "year": __released__.partition("-")[0],
    },
)

_CVPR = "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)"
_NEURIPS = "Advances in Neural Information Processing Systems"

THEORY = (
    _inproceedings(
        "finnveden2021understanding", "Finnveden, Lukas and Jansson, Ylva and Lindeberg, Tony",
        "Understanding when spatial transformer networks do not support invariance, and what to do "
        "about it", "25th International Conference on Pattern Recognition (ICPR 2020)", "2021",
        pages="3427--3434", publisher="IEEE", doi="10.1109/ICPR48806.2021.9412997",
        eprint="2004.11678", archiveprefix="arXiv",
    ),
    _preprint(
        "jansson2020inability",
        "Jansson, Ylva and Maydanskiy, Maksim and Finnveden, Lukas and Lindeberg, Tony",
        "Inability of spatial transformations of {CNN} feature maps to support invariant "
        "recognition", "2004.14716", "2020",
    ),
    _preprint(
        "finnveden2020problems", "Finnveden, Lukas and Jansson, Ylva and Lindeberg, Tony",
        "The problems with using {STNs} to align {CNN} feature maps", "2001.05858", "2020",
    ),
    _inproceedings(
        "jaderberg2015spatial",
        "Jaderberg, Max and Simonyan, Karen and Zisserman, Andrew and Kavukcuoglu, Koray",
        "Spatial transformer networks", _NEURIPS, "2015", volume="28", pages="2017--2025",
        eprint="1506.02025", archiveprefix="arXiv",
    ),
    _article(
        "lenc2019understanding", "Lenc, Karel and Vedaldi, Andrea",
        "Understanding image representations by measuring their equivariance and equivalence",
        "2019", journal="International Journal of Computer Vision", volume="127",
        pages="456--476", doi="10.1007/s11263-018-1098-y",
    ),
)  # fmt: skip

METHODS = {
    "jackknife": _article(
        "miller1974jackknife", "Miller, Rupert G.", "The jackknife -- a review", "1974",
        journal="Biometrika", volume="61", number="1", pages="1--15", doi="10.1093/biomet/61.1.1",
    ),
    "wilson": _article(
        "wilson1927", "Wilson, Edwin B.",
        "Probable inference, the law of succession, and statistical inference", "1927",
        journal="Journal of the American Statistical Association", volume="22", number="158",
        pages="209--212", doi="10.1080/01621459.1927.10502953",
    ),
    "hungarian": _article(
        "kuhn1955hungarian", "Kuhn, Harold W.", "The {Hungarian} method for the assignment problem",
        "1955", journal="Naval Research Logistics Quarterly", volume="2", pages="83--97",
        doi="10.1002/nav.3800020109",
    ),
    "procrustes": _article(
        "schonemann1966procrustes", r'Sch{\"o}nemann, Peter H.',
        "A generalized solution of the orthogonal {Procrustes} problem", "1966",
        journal="Psychometrika", volume="31", number="1", pages="1--10", doi="10.1007/BF02289451",
    ),
    "bicubic": _article(
        "keys1981cubic", "Keys, Robert G.",
        "Cubic convolution interpolation for digital image processing", "1981",
        journal="IEEE Transactions on Acoustics, Speech, and Signal Processing", volume="29",
        number="6", pages="1153--1160", doi="10.1109/TASSP.1981.1163711",
    ),
    "pytorch": _inproceedings(
        "paszke2019pytorch", "Paszke, Adam and others",
        "{PyTorch}: An imperative style, high-performance deep learning library", _NEURIPS, "2019",
        volume="32", pages="8024--8035", eprint="1912.01703", archiveprefix="arXiv",
    ),
}  # fmt: skip

# By words in the description or the name of the images.
DATA = {
    "mnist": _article(
        "lecun1998gradient",
        r"LeCun, Yann and Bottou, L{\'e}on and Bengio, Yoshua and Haffner, Patrick",
        "Gradient-based learning applied to document recognition", "1998",
        journal="Proceedings of the IEEE", volume="86", number="11", pages="2278--2324",
        doi="10.1109/5.726791",
    ),
    "imagenet": _article(
        "russakovsky2015imagenet", "Russakovsky, Olga and others",
        "{ImageNet} large scale visual recognition challenge", "2015",
        journal="International Journal of Computer Vision", volume="115", number="3",
        pages="211--252", doi="10.1007/s11263-015-0816-y",
    ),
}  # fmt: skip

# By how the name of the architecture begins.
ARCHITECTURES = {
    "resnet": _inproceedings(
        "he2016deep", "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
        "Deep residual learning for image recognition", _CVPR, "2016", pages="770--778",
        doi="10.1109/CVPR.2016.90",
    ),
    "vgg": _inproceedings(
        "simonyan2015very", "Simonyan, Karen and Zisserman, Andrew",
        "Very deep convolutional networks for large-scale image recognition",
        "International Conference on Learning Representations (ICLR)", "2015",
        eprint="1409.1556", archiveprefix="arXiv",
    ),
    "alexnet": _preprint(
        "krizhevsky2014weird", "Krizhevsky, Alex",
        "One weird trick for parallelizing convolutional neural networks", "1404.5997", "2014",
    ),
    "densenet": _inproceedings(
        "huang2017densely",
        "Huang, Gao and Liu, Zhuang and van der Maaten, Laurens and Weinberger, Kilian Q.",
        "Densely connected convolutional networks", _CVPR, "2017", pages="2261--2269",
        doi="10.1109/CVPR.2017.243",
    ),
    "googlenet": _inproceedings(
        "szegedy2015going", "Szegedy, Christian and others", "Going deeper with convolutions",
        _CVPR, "2015", pages="1--9", doi="10.1109/CVPR.2015.7298594",
    ),
    "mobilenet_v2": _inproceedings(
        "sandler2018mobilenetv2",
        "Sandler, Mark and Howard, Andrew and Zhu, Menglong and Zhmoginov, Andrey and "
        "Chen, Liang-Chieh",
        "{MobileNetV2}: Inverted residuals and linear bottlenecks", _CVPR, "2018",
        pages="4510--4520", doi="10.1109/CVPR.2018.00474",
    ),
    "efficientnet": _inproceedings(
        "tan2019efficientnet", "Tan, Mingxing and Le, Quoc V.",
        "{EfficientNet}: Rethinking model scaling for convolutional neural networks",
        "36th International Conference on Machine Learning (ICML)", "2019", volume="97",
        series="Proceedings of Machine Learning Research", pages="6105--6114",
        eprint="1905.11946", archiveprefix="arXiv",
    ),
    "convnext": _inproceedings(
        "liu2022convnet",
        "Liu, Zhuang and Mao, Hanzi and Wu, Chao-Yuan and Feichtenhofer, Christoph and "
        "Darrell, Trevor and Xie, Saining",
        "A {ConvNet} for the 2020s", _CVPR, "2022", pages="11966--11976",
        doi="10.1109/CVPR52688.2022.01167",
    ),
}  # fmt: skip

TIMM = Entry(
    "wightman2019timm",
    "misc",
    {
        "author": "Wightman, Ross",
        "title": "{PyTorch} Image Models",
        "year": "2019",
        "doi": "10.5281/zenodo.4414861",
    },
)

EVERY = (TOOL, *THEORY, *METHODS.values(), *DATA.values(), *ARCHITECTURES.values(), TIMM)
