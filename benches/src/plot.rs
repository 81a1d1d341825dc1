//! Pictures of what was measured, as SVG, for the documentation.
//!
//! `RINGWAY_PLOTS=docs/plots cargo bench …` writes them there (relative to the root of
//! the repository); without that variable none are made.

use crate::Fallible;
use std::fmt::Write;
use std::path::PathBuf;

/// Names the directory for the pictures.
const DIRECTORY: &str = "RINGWAY_PLOTS";
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
/// Told apart by most eyes.
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8c564b"];

/// How an axis maps figures to places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// Each power of ten takes the same room.
    Log,
    /// For parts of a whole: each further nine takes the same room.
    Nines,
}

impl Scale {
    fn place(self, figure: f64) -> f64 {
        match self {
            Self::Log => figure.max(1e-9).log10(),
            Self::Nines => -(1.0 - figure).max(1e-9).log10(),
        }
    }

    /// What stands at a whole place.
    fn label(self, place: i32) -> String {
        match self {
            Self::Log if place < 0 => {
                format!("{:.*}", place.unsigned_abs() as usize, 10_f64.powi(place))
            }
            Self::Log => format!("{:.0}", 10_f64.powi(place)),
            Self::Nines if place == 0 => "0 %".into(),
            Self::Nines => {
                let behind = usize::try_from(place - 2).unwrap_or(0);
                format!("{:.behind$} %", 100.0 * (1.0 - 10_f64.powi(-place)))
            }
        }
    }
}

/// One subject's figures.
#[derive(Debug)]
pub struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Line {
    /// The points from left to right.
    pub fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points }
    }
}

/// Lines over two axes.
#[derive(Debug)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// The lower axis.
    pub x: (String, Scale),
    /// The left axis.
    pub y: (String, Scale),
    /// The subjects.
    pub lines: Vec<Line>,
}

impl Chart {
    /// Writes the picture, if pictures are wanted.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn save(&self, name: &str) -> Fallible {
        save(name, || self.svg())
    }

    fn svg(&self) -> String {
        let across = Axis::over(self.x.1, self.all().map(|point| point.0), LEFT, WIDTH - RIGHT);
        let up = Axis::over(self.y.1, self.all().map(|point| point.1), HEIGHT - BOTTOM, TOP);
        let mut svg = head(&self.title);
        for (place, at) in across.ticks() {
            rule(&mut svg, (at, TOP), (at, HEIGHT - BOTTOM));
            text(&mut svg, (at, HEIGHT - BOTTOM + 16.0), "middle", &self.x.1.label(place));
        }
        for (place, at) in up.ticks() {
            rule(&mut svg, (LEFT, at), (WIDTH - RIGHT, at));
            text(&mut svg, (LEFT - 6.0, at + 4.0), "end", &self.y.1.label(place));
        }
        text(&mut svg, ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12.0), "middle", &self.x.0);
        text(&mut svg, (8.0, TOP - 8.0), "start", &self.y.0);
        for (index, line) in self.lines.iter().filter(|line| !line.points.is_empty()).enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let mut path = String::new();
            for &(x, y) in &line.points {
                let _ = write!(path, "{:.1},{:.1} ", across.at(x), up.at(y));
            }
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.trim_end()
            );
            let row = TOP + 8.0 + 20.0 * index as f64;
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"12\" height=\"4\" fill=\"{colour}\"/>",
                WIDTH - RIGHT + 14.0,
                row - 5.0
            );
            text(&mut svg, (WIDTH - RIGHT + 32.0, row), "start", &line.name);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn all(&self) -> impl Iterator<Item = (f64, f64)> {
        self.lines.iter().flat_map(|line| line.points.iter().copied())
    }
}

/// One bar for each subject, on a logarithmic axis, each with its range.
#[derive(Debug)]
pub struct Bars {
    /// Above it.
    pub title: String,
    /// Name, and lowest, middle and highest figure.
    pub bars: Vec<(String, [f64; 3])>,
}

impl Bars {
    /// Writes the picture, if pictures are wanted.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn save(&self, name: &str) -> Fallible {
        save(name, || self.svg())
    }

    fn svg(&self) -> String {
        let step = 18.0;
        let left = 190.0;
        let height = TOP + step * self.bars.len() as f64 + 30.0;
        let figures = self.bars.iter().flat_map(|(_, figures)| figures.iter().copied());
        let across = Axis::over(Scale::Log, figures, left, WIDTH - 90.0);
        let mut svg = head_of(&self.title, height);
        for (place, at) in across.ticks() {
            rule(&mut svg, (at, TOP - 6.0), (at, height - 24.0));
            text(&mut svg, (at, height - 8.0), "middle", &Scale::Log.label(place));
        }
        for (index, (name, [low, middle, high])) in self.bars.iter().enumerate() {
            let row = TOP + step * index as f64;
            let colour = match name {
                name if name.starts_with("ringway") => COLOURS[0],
                name if name.contains("floor") => COLOURS[6],
                _ => COLOURS[4],
            };
            let _ = writeln!(
                svg,
                "<rect x=\"{left}\" y=\"{row:.1}\" width=\"{:.1}\" height=\"11\" fill=\"{colour}\"/>",
                across.at(*middle) - left
            );
            let _ = writeln!(
                svg,
                "<path d=\"M{:.1} {:.1}H{:.1}\" stroke=\"#000\" stroke-width=\"1.5\"/>",
                across.at(*low),
                row + 5.5,
                across.at(*high)
            );
            text(&mut svg, (left - 6.0, row + 10.0), "end", name);
            let told =
                if *middle >= 100.0 { format!("{middle:.0}") } else { format!("{middle:.1}") };
            text(&mut svg, (across.at(high.max(*middle)) + 5.0, row + 10.0), "start", &told);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// From whole places to pixels.
struct Axis {
    scale: Scale,
    from: i32,
    to: i32,
    start: f64,
    end: f64,
}

impl Axis {
    fn over(scale: Scale, figures: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let places = figures.filter(|figure| figure.is_finite()).map(|figure| scale.place(figure));
        let (low, high) = places
            .fold((f64::MAX, f64::MIN), |(low, high), place| (low.min(place), high.max(place)));
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        #[expect(clippy::cast_possible_truncation, reason = "logarithms of figures are small")]
        let (from, to) = (low.floor() as i32, high.ceil() as i32);
        Self { scale, from, to: to.max(from + 1), start, end }
    }

    fn at(&self, figure: f64) -> f64 {
        let part =
            (self.scale.place(figure) - f64::from(self.from)) / f64::from(self.to - self.from);
        self.start + part * (self.end - self.start)
    }

    fn ticks(&self) -> impl Iterator<Item = (i32, f64)> {
        (self.from..=self.to).map(|place| {
            let part = f64::from(place - self.from) / f64::from(self.to - self.from);
            (place, self.start + part * (self.end - self.start))
        })
    }
}

fn head(title: &str) -> String {
    head_of(title, HEIGHT)
}

fn head_of(title: &str, height: f64) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"20\" text-anchor=\"middle\" font-size=\"14\">{}</text>",
        WIDTH / 2.0,
        escaped(title)
    );
    svg
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#ddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
        at.0,
        at.1,
        escaped(text)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn save(name: &str, svg: impl FnOnce() -> String) -> Fallible {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return Ok(()) };
    // Cargo starts benchmarks in their package's directory.
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let directory = root.join(directory);
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join(name.replace('/', "_")).with_extension("svg"), svg())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_where_their_axis_says() {
        let axis = Axis::over(Scale::Log, [1.0, 900.0].into_iter(), 0.0, 300.0);
        assert_eq!((axis.at(1.0), axis.at(1000.0)), (0.0, 300.0));
        assert!((axis.at(10.0) - 100.0).abs() < 1e-6);
        let nines = Axis::over(Scale::Nines, [0.0, 0.999].into_iter(), 0.0, 300.0);
        assert!((nines.at(0.99) - 200.0).abs() < 1e-6);
        assert_eq!(Scale::Nines.label(3), "99.9 %");
        assert_eq!((Scale::Log.label(2), Scale::Log.label(-1)), ("100".into(), "0.1".into()));
    }

    #[test]
    fn a_picture_is_complete_even_without_figures() {
        let axis = |scale| ("axis <&>".into(), scale);
        let lines = vec![Line::new("a", vec![(0.5, 2.0), (0.9, 4.0)]), Line::new("b", vec![])];
        let chart = Chart { title: "t".into(), x: axis(Scale::Nines), y: axis(Scale::Log), lines };
        let svg = chart.svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("axis &lt;&amp;&gt;") && svg.matches("<polyline").count() == 1);
        let bars = Bars { title: "t".into(), bars: vec![("ringway".into(), [1.0, 2.0, 3.0])] };
        assert!(bars.svg().contains("ringway"));
        assert!(Bars { title: "t".into(), bars: vec![] }.svg().ends_with("</svg>\n"));
    }
}
