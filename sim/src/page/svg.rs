//! Drawing along a time axis, as SVG that is part of the page.

use std::fmt::Write as _;

/// Width of a chart, in its own units.
pub const WIDTH: f64 = 1200.0;
/// What stands to the left of the axis: names.
const LEFT: f64 = 150.0;
/// Left free at the right.
const RIGHT: f64 = 24.0;

/// A chart in the making, along the time from zero to its end.
pub struct Chart {
    end_s: f64,
    height: f64,
    body: String,
}

/// Text made safe for HTML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

impl Chart {
    /// An empty chart of a run of so many seconds.
    pub fn new(end_s: f64) -> Self {
        Self { end_s: end_s.max(0.001), height: 0.0, body: String::new() }
    }

    /// Where a moment is.
    pub fn x(&self, at_s: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * at_s.clamp(0.0, self.end_s) / self.end_s
    }

    /// Reserves a row of this height and returns its top.
    pub fn row(&mut self, height: f64) -> f64 {
        let top = self.height;
        self.height += height;
        top
    }

    fn draw(&mut self, shape: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(shape);
        self.body.push('\n');
    }

    /// The name of a row, at its left.
    pub fn name(&mut self, y: f64, class: &str, name: &str) {
        let (x, name) = (LEFT - 6.0, escaped(name));
        self.draw(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{name}</text>"));
    }

    /// A span of time.
    pub fn span(&mut self, (from, to): (f64, f64), (y, height): (f64, f64), class: &str, told: &str) {
        let x = self.x(from);
        let width = (self.x(to) - x).max(0.6);
        let title = title(told);
        self.draw(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\">{title}</rect>"
        ));
    }

    /// A moment.
    pub fn mark(&mut self, at: f64, (y, height): (f64, f64), class: &str, told: &str) {
        let (x, title) = (self.x(at) - 1.5, title(told));
        self.draw(format_args!(
            "<rect class=\"mark {class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"3\" height=\"{height:.1}\">{title}</rect>"
        ));
    }

    /// A moment, through all rows so far.
    pub fn line(&mut self, at: f64, class: &str, told: &str) {
        let (x, height, title) = (self.x(at), self.height, title(told));
        self.draw(format_args!(
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height:.1}\">{title}</line>"
        ));
    }

    /// A curve that keeps each value until the next, in a row from `top`; `most` is its upper edge.
    pub fn steps(&mut self, points: &[(f64, f64)], (top, height): (f64, f64), most: f64, class: &str) {
        let y = |value: f64| top + height - height * (value / most.max(1e-9)).clamp(0.0, 1.0);
        let mut path = String::new();
        for (index, (at, value)) in points.iter().enumerate() {
            let (x, y) = (self.x(*at), y(*value));
            let _ = if index == 0 { write!(path, "M{x:.1} {y:.1}") } else { write!(path, "H{x:.1}V{y:.1}") };
        }
        self.draw(format_args!("<path class=\"curve {class}\" d=\"{path}\"/>"));
    }

    /// The time axis below all rows.
    pub fn axis(&mut self) {
        let rows = self.height;
        let step = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
        let step = step.into_iter().find(|step| self.end_s / step <= 14.0).unwrap_or(self.end_s / 10.0);
        let ticks = (self.end_s / step) as u32;
        for tick in 0..=ticks {
            let at = f64::from(tick) * step;
            let (x, y) = (self.x(at), rows + 13.0);
            self.draw(format_args!("<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{rows:.1}\"/>"));
            self.draw(format_args!(
                "<text class=\"time\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{at} s</text>"
            ));
        }
        self.height += 18.0;
    }

    /// The chart, as an element of the page.
    pub fn finish(self, label: &str) -> String {
        let (height, body, label) = (self.height.ceil(), self.body, escaped(label));
        format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">\n{body}</svg>\n")
    }
}

fn title(told: &str) -> String {
    if told.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(told)) }
}
